"""W_d*, the multivariate Welch statistic of distances, for all sites and relabellings.

Pseudo-F pools the spread of all emotions. Where groups differ in size and in spread, its relabelled values
are no reference for the observed one. W_d* weights each emotion by n_k / s_k^2, with s_k^2 the emotion's own
variance, so that relabelled values are one in large samples. On distances d,

s_k^2 = sum over pairs in k of d^2 / (n_k (n_k - 1)),   w_k = n_k / s_k^2,   W = sum_k w_k,
D_kl  = |mean_k - mean_l|^2 = sum over pairs (i in k, j in l) of d^2 / (n_k n_l) - v_k - v_l,
        with v_k = sum over pairs in k of d^2 / n_k^2,
W_d*  = sum_{k < l} w_k w_l D_kl / (W (K - 1)) / (1 + 2 (K - 2) / (K^2 - 1) h),
h     = sum_k (1 - w_k / W)^2 / (n_k - 1).

In one dimension it is the statistic of Welch's analysis of variance. Euclidean distances are used, so that
D and s^2 follow from the Gram matrix.

Source: Hamidi, Wallace, Vasu and Alekseyenko 2019, W_d*-test: robust distance-based multivariate analysis of
variance, Microbiome 7:51; checked against sums over pairs and against Welch's test of scipy.
"""

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.permanova import group_counts

BUFFER = 2**21
"""Numbers of one (unit, perm, klass) block."""


def w_d_star(
    grams: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "site perm"]:
    """Return W_d* of every site under every labelling; every emotion has at least two units.

    Args:
        grams: Gram matrices of unit means.
        labels: relabellings, the observed one first.

    >>> x = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> round(w_d_star((x @ x.T)[None], np.array([[0, 0, 1, 1]])).item(), 9)    # t^2 = 3^2 / (1/4 + 1/4)
    18.0
    """
    n_classes = int(labels.max()) + 1
    out = np.empty((len(grams), len(labels)))
    step = max(1, BUFFER // (grams.shape[1] * n_classes))
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        sizes = group_counts(part, n_classes).astype(np.float64)
        for site, gram in enumerate(grams):
            apart, spread = group_distances(gram, part, n_classes)
            out[site, start : start + step] = from_groups(apart, spread, sizes)
    return out


def group_distances(
    gram: Float[np.ndarray, "unit unit"], labels: Int[np.ndarray, "perm unit"], n_classes: int
) -> tuple[Float[np.ndarray, "perm klass klass"], Float[np.ndarray, "perm klass"]]:
    """Return D_kl, the squared distances between the emotions' means, and s_k^2, their variances."""
    onehot = (labels[:, :, None] == np.arange(n_classes)).astype(np.float64)
    sizes = onehot.sum(axis=1)
    weights = onehot / sizes[:, None]
    near = np.tensordot(weights, gram, axes=(1, 0))  # mean_k . x_i
    products = near @ weights  # mean_k . mean_l
    own = np.diagonal(products, axis1=1, axis2=2)
    apart = np.clip(own[:, :, None] + own[:, None, :] - 2 * products, 0, None)
    squares = np.diag(gram) @ onehot
    floor = np.finfo(float).eps * float(np.trace(gram)) / len(gram)
    spread = np.maximum((squares - sizes * own) / (sizes - 1), floor)
    return apart, spread


def from_groups(
    apart: Float[np.ndarray, "perm klass klass"],
    spread: Float[np.ndarray, "perm klass"],
    sizes: Float[np.ndarray, "perm klass"],
) -> Float[np.ndarray, " perm"]:
    """Return W_d* from the emotions' squared distances, variances and sizes."""
    n_classes = apart.shape[1]
    weights = sizes / spread
    total = weights.sum(axis=1)
    between = np.einsum("pk,pkl,pl->p", weights, apart, weights) / 2
    h = (np.square(1 - weights / total[:, None]) / (sizes - 1)).sum(axis=1)
    return between / total / (n_classes - 1) / (1 + 2 * (n_classes - 2) / (n_classes**2 - 1) * h)
