"""PERMANOVA: is the distance between emotions larger than relabelled prompts give? All layers at once.

Pseudo-F = (SS_between / (K - 1)) / (SS_within / (n - K)); on a centred Gram matrix G
SS_total = tr G and SS_between = sum_k z_k^T G z_k / n_k with z_k the indicator of group k.
Each quadratic form is a sum over pairs of equal label, so all layers x all relabellings are one product of
(layer, pair) values with (pair, perm) indicators.

Source: Anderson 2001, A new method for non-parametric multivariate analysis of variance; checked against
scikit-bio `skbio.stats.distance.permanova`.
"""

import numpy as np
from jaxtyping import Float, Int

BUFFER = 2**21
"""Numbers of one (perm, pair) block: 8 MB in float32."""


def same_label_sums(
    pairs: Float[np.ndarray, "layer prompt prompt"],
    labels: Int[np.ndarray, "perm prompt"],
    weights: Float[np.ndarray, "perm klass"],
) -> Float[np.ndarray, "layer perm"]:
    """Return sum over i < j of equal label k of weights[perm, k] * pairs[layer, i, j].

    Any pairwise statistic (pseudo-F, within - between, energy distance) is built from such sums. Products
    run in float32: twice as fast, relative error near 1e-7, far below what separates two relabellings.

    Args:
        pairs: symmetric values; the diagonal is not read.
        labels: one labelling per row.
        weights: weight of each label under each labelling (1 / n_k, or 1 / number of pairs).
    """
    n_layers, n, _ = pairs.shape
    rows, columns = np.triu_indices(n, 1)
    values = np.ascontiguousarray(pairs[:, rows, columns], dtype=np.float32)
    one_weight = float(weights.flat[0]) if (weights == weights.flat[0]).all() else None
    step = max(1, BUFFER // len(rows))
    out = np.empty((n_layers, len(labels)))
    same = np.empty((min(step, len(labels)), len(rows)), dtype=bool)
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        block = same[: len(part)]
        end = 0
        for i in range(n - 1):
            begin, end = end, end + n - 1 - i
            np.equal(part[:, i + 1 :], part[:, i, None], out=block[:, begin:end])
        indicator = block.astype(np.float32)
        if one_weight is None:
            weight = np.take_along_axis(weights[start : start + step], part.astype(np.intp), axis=1)
            indicator *= weight.astype(np.float32)[:, rows]
        out[:, start : start + step] = values @ indicator.T
    return out if one_weight is None else out * one_weight


def group_counts(labels: Int[np.ndarray, "perm prompt"], n_classes: int) -> Int[np.ndarray, "perm klass"]:
    """Return how many prompts carry each label under each labelling."""
    return (labels[:, :, None] == np.arange(n_classes, dtype=labels.dtype)).sum(axis=1)


def sums_of_squares(
    grams: Float[np.ndarray, "layer prompt prompt"], labels: Int[np.ndarray, "perm prompt"]
) -> tuple[Float[np.ndarray, "layer perm"], Float[np.ndarray, "layer 1"]]:
    """Return SS_between per layer and labelling, and SS_total per layer, of centred Gram matrices."""
    n_classes = int(labels.max()) + 1
    counts = group_counts(labels, n_classes)
    inverse = np.divide(1.0, counts, out=np.zeros(counts.shape), where=counts > 0)
    diagonal = np.diagonal(grams, axis1=1, axis2=2)
    per_row = np.take_along_axis(inverse, labels.astype(np.intp), axis=1)
    between = 2 * same_label_sums(grams, labels, inverse) + diagonal @ per_row.T
    return between, diagonal.sum(axis=1)[:, None]


def pseudo_f(
    grams: Float[np.ndarray, "layer prompt prompt"], labels: Int[np.ndarray, "perm prompt"]
) -> Float[np.ndarray, "layer perm"]:
    """Return the pseudo-F of every layer under every labelling; groups may differ in size.

    Args:
        grams: centred Gram matrices of prompt means.
        labels: relabellings, the observed one first.

    >>> x = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> pseudo_f((x @ x.T)[None], np.array([[0, 0, 1, 1]])).item()       # 9 / 1 over 1 / 2
    18.0
    """
    n, n_classes = grams.shape[1], int(labels.max()) + 1
    between, total = sums_of_squares(grams, labels)
    within = np.maximum(total - between, np.finfo(float).eps * total)
    return (between / (n_classes - 1)) / (within / (n - n_classes))
