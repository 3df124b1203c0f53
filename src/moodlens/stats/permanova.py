"""PERMANOVA: is the distance between emotions larger than relabelled prompts give? All layers at once.

Pseudo-F = (SS_between / (K - 1)) / (SS_within / (n - K)); on a centred Gram matrix G
SS_total = tr G and SS_between = sum_k z_k^T G z_k / n_k with z_k the indicator of group k.
Each quadratic form is a sum over pairs of equal label, so all layers x all relabellings are one product of
(layer, pair) values with (pair, perm) indicators; where that is large and groups are equal, `stats.lookup`.

Source: Anderson 2001, A new method for non-parametric multivariate analysis of variance; checked against
scikit-bio `skbio.stats.distance.permanova`.
"""

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats import lookup

PERMS_AT_ONCE, PAIRS_AT_ONCE = 512, 2048
"""Block of indicators that is formed and multiplied at once: 4 MB in float32, so that it stays in cache."""


def same_label_sums(
    pairs: Float[np.ndarray, "layer prompt prompt"],
    labels: Int[np.ndarray, "perm prompt"],
    weights: Float[np.ndarray, "perm klass"],
) -> Float[np.ndarray, "layer perm"]:
    """Return sum over i < j of equal label k of weights[perm, k] * pairs[layer, i, j].

    Any pairwise statistic (pseudo-F, within - between, energy distance) is built from such sums. Products
    run in float32: errors stay below 1e-4 of the standard deviation between relabellings.

    Args:
        pairs: symmetric values; the diagonal is not read.
        labels: one labelling per row.
        weights: weight of each label under each labelling (1 / n_k, or 1 / number of pairs).
    """
    n_layers, n, _ = pairs.shape
    alike = bool((weights == weights.flat[0]).all())
    if alike and lookup.pays(n_layers, n, len(labels)):
        return np.ascontiguousarray(lookup.pair_sums(pairs, labels)) * weights.flat[0]
    rows, columns = np.triu_indices(n, 1)
    values = np.ascontiguousarray(pairs[:, rows, columns], dtype=np.float32)
    out = np.zeros((n_layers, len(labels)), dtype=np.float32)
    blocks = _row_blocks(n)
    most = max(end - begin for _, _, begin, end in blocks) * min(PERMS_AT_ONCE, len(labels))
    buffers = np.empty(most, dtype=bool), np.empty(most, dtype=np.float32)
    for start in range(0, len(labels), PERMS_AT_ONCE):
        part = np.ascontiguousarray(labels[start : start + PERMS_AT_ONCE].T)
        weight = None
        if not alike:
            taken = np.take_along_axis(weights[start : start + PERMS_AT_ONCE].T, part.astype(np.intp), axis=0)
            weight = taken.astype(np.float32)
        target = out[:, start : start + PERMS_AT_ONCE]
        for first, last, begin, end in blocks:
            target += values[:, begin:end] @ _same_label(part, weight, range(first, last), buffers)
    return (out * weights.flat[0] if alike else out).astype(np.float64)


def _row_blocks(n: int) -> list[tuple[int, int, int, int]]:
    """Return (first row, last row, first pair, last pair) of blocks of about `PAIRS_AT_ONCE` pairs i < j."""
    blocks, first, begin, end = [], 0, 0, 0
    for i in range(n - 1):
        end += n - 1 - i
        if end - begin >= PAIRS_AT_ONCE or i == n - 2:
            blocks.append((first, i + 1, begin, end))
            first, begin = i + 1, end
    return blocks


def _same_label(
    labels: Int[np.ndarray, "prompt perm"],
    weights: Float[np.ndarray, "prompt perm"] | None,
    rows: range,
    buffers: tuple[np.ndarray, np.ndarray],
) -> Float[np.ndarray, "pair perm"]:
    """Return 1 (or the weight) where the prompts of a pair share a label, for the pairs i < j with i in rows.

    It is formed in `buffers`: memory asked for afresh costs more in page faults than the comparison itself.
    """
    lengths = [len(labels) - 1 - i for i in rows]
    shape = sum(lengths), labels.shape[1]
    same, indicator = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in buffers)
    end = 0
    for i, length in zip(rows, lengths, strict=True):
        begin, end = end, end + length
        np.equal(labels[i + 1 :], labels[i], out=same[begin:end])
    indicator[...] = same
    if weights is not None:
        indicator *= np.repeat(weights[rows.start : rows.stop], lengths, axis=0)
    return indicator


def group_counts(labels: Int[np.ndarray, "perm prompt"], n_classes: int) -> Int[np.ndarray, "perm klass"]:
    """Return how many prompts carry each label under each labelling."""
    by_prompt = np.ascontiguousarray(labels.T)
    return np.stack([(by_prompt == klass).sum(axis=0, dtype=np.int32) for klass in range(n_classes)], axis=1)


def sums_of_squares(
    grams: Float[np.ndarray, "layer prompt prompt"], labels: Int[np.ndarray, "perm prompt"]
) -> tuple[Float[np.ndarray, "layer perm"], Float[np.ndarray, "layer 1"]]:
    """Return SS_between per layer and labelling, and SS_total per layer, of centred Gram matrices."""
    n_classes = int(labels.max()) + 1
    counts = group_counts(labels, n_classes)
    inverse = np.divide(1.0, counts, out=np.zeros(counts.shape), where=counts > 0)
    diagonal = np.diagonal(grams, axis1=1, axis2=2)
    if (inverse == inverse.flat[0]).all():  # equal groups
        own = diagonal.sum(axis=1, keepdims=True) * inverse.flat[0]
    else:
        own = diagonal @ np.take_along_axis(inverse, labels.astype(np.intp), axis=1).T
    between = 2 * same_label_sums(grams, labels, inverse) + own
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
