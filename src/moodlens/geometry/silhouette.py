"""Silhouettes in the original space: the closeness of a point to its own emotion and to the next closest one.

Every point is a wording (the mean of its prompts), so that no point's neighbour is another prompt with the
same words. Projections (PCA, UMAP) are not used.
"""

import numpy as np
from jaxtyping import Float, Int

BUFFER = 2**22
"""Number of values in one block of relabellings."""


def silhouettes(
    distances: Float[np.ndarray, "point point"], table: Int[np.ndarray, "perm point"]
) -> Float[np.ndarray, " perm"]:
    """Return the mean silhouette of the points under every labelling, in -1..1.

    s = (b - a) / max(a, b), with a the mean distance to the other points of the own emotion and b the
    smallest mean distance to the points of another emotion; 0 for the only point of an emotion. Source:
    Rousseeuw 1987; equals `sklearn.metrics.silhouette_score(metric="precomputed")`.

    Args:
        distances: Euclidean, diagonal 0.
        table: one labelling per row, labels 0..k-1.

    >>> line = np.array([0.0, 1.0, 10.0, 11.0])
    >>> silhouettes(np.abs(line[:, None] - line), np.array([[0, 0, 1, 1]])).round(3).tolist()
    [0.9]
    """
    n, n_classes = len(distances), int(table.max()) + 1
    mean_values = np.empty(len(table))
    step = max(1, BUFFER // (n * n_classes))
    for start in range(0, len(table), step):
        part = table[start : start + step].astype(np.intp)
        onehot = (part[:, :, None] == np.arange(n_classes)).astype(np.float64)
        sizes = onehot.sum(axis=1)
        sums = distances @ onehot
        own = np.take_along_axis(sums, part[:, :, None], axis=2)[:, :, 0]
        n_own = np.take_along_axis(sizes, part, axis=1)
        a = own / np.maximum(n_own - 1, 1)
        means = sums / np.maximum(sizes, 1)[:, None, :]
        means[(onehot > 0) | (sizes == 0)[:, None, :]] = np.inf
        b = means.min(axis=2)
        widest = np.maximum(a, b)
        values = np.divide(b - a, widest, out=np.zeros_like(a), where=(widest > 0) & (n_own > 1))
        mean_values[start : start + step] = values.mean(axis=1)
    return mean_values
