"""PERMDISP: do emotions differ in how widely their units scatter? F of the distances to the own centroid.

What is relabelled are the residuals (units minus their emotion's mean), so that means that differ are not
taken for a difference of spread. Distances in a group of n_k are widened by sqrt(n_k / (n_k - 1)), without
which small groups look tight.

Source: Anderson 2006, Distance-based tests for homogeneity of multivariate dispersions, Biometrics 62 (F,
residuals); Stier et al. 2013 (the factor, `bias.adjust` of vegan's `betadisper`).
"""

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.gram import mean_weights

BUFFER = 2**21
"""Numbers of one (perm, unit, klass) block."""


def dispersion_f(
    grams: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "site perm"]:
    """Return the dispersion F of every site under every labelling.

    Args:
        grams: Gram matrices of unit means.
        labels: relabellings, the observed one first: its means are taken out before.
    """
    n, n_classes = grams.shape[1], int(labels.max()) + 1
    keep = np.eye(n) - mean_weights(labels[0].astype(np.int64))[labels[0]]
    residuals = (keep @ grams @ keep.T).astype(np.float32)
    own = np.diagonal(residuals, axis1=1, axis2=2)
    sizes = np.bincount(labels[0], minlength=n_classes).astype(np.float32)
    out = np.empty((len(grams), len(labels)))
    step = max(1, BUFFER // (n * n_classes))
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        onehot = (part[:, :, None] == np.arange(n_classes, dtype=part.dtype)).astype(np.float32)
        weights = (onehot / sizes).transpose(1, 0, 2).reshape(n, -1)
        for site in range(len(grams)):
            near = (residuals[site] @ weights).reshape(n, len(part), n_classes)  # x_i . mean_k
            norms = np.einsum("ipk,pik->pk", near, onehot) / sizes  # |mean_k|^2
            mine = np.einsum("ipk,pik->pi", near, onehot)
            squared = own[site] - 2 * mine + np.take_along_axis(norms, part.astype(np.intp), axis=1)
            widened = np.sqrt(np.clip(squared, 0, None) * (sizes / (sizes - 1))[part])
            means = np.einsum("pi,pik->pk", widened, onehot) / sizes
            grand = widened.mean(axis=1, keepdims=True)
            between = (sizes * (means - grand) ** 2).sum(axis=1)
            within = ((widened - np.take_along_axis(means, part.astype(np.intp), axis=1)) ** 2).sum(axis=1)
            floor = np.finfo(np.float32).eps * grand[:, 0] ** 2 * n
            within = np.maximum(within, np.maximum(floor, np.finfo(np.float32).tiny))
            out[site, start : start + step] = (between / (n_classes - 1)) / (within / (n - n_classes))
    return out
