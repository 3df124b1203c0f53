"""PERMANOVA and PERMDISP for all layers and relabellings at once.

PERMANOVA tests whether distances between emotions are larger than under relabelled prompts.
Pseudo-F = (SS_between / (K - 1)) / (SS_within / (n - K)). On a centred Gram matrix G,
SS_total = tr G and SS_between = sum_k z_k^T G z_k / n_k with z_k the indicator of group k.
Each quadratic form is a sum over pairs of equal label, so all layers x all relabellings are one product of
(layer, pair) values with (pair, perm) indicators. Where that product is large and groups are equal, lookup
tables replace it. Source: Anderson 2001, A new method for non-parametric multivariate analysis of variance;
checked against scikit-bio `skbio.stats.distance.permanova`.

The lookup is the method of the four Russians. Which of eight prompts share the label of a ninth is one byte,
so eight terms of a sum are one of 256 rows of a table (code, layer). A table takes 256 additions per layer
and serves every relabelling: each of 10,000 relabellings then takes an eighth of the additions, and no
indicator is formed. Four tables are added at a time. Source: Arlazarov, Dinic, Kronrod and Faradzev 1970, On
economical construction of the transitive closure.

PERMDISP tests whether emotions differ in the spread of their units: F of the distances to the own centroid.
The residuals (units minus their emotion's mean) are relabelled, so that different means are not taken for
different spreads. Distances in a group of n_k are multiplied by sqrt(n_k / (n_k - 1)); without it small
groups look too compact. Source: Anderson 2006, Distance-based tests for homogeneity of multivariate
dispersions, Biometrics 62 (F, residuals); Stier et al. 2013 (the factor, `bias.adjust` of vegan's
`betadisper`).
"""

import numpy as np
from jaxtyping import Float, Int
from numba import float32, njit

from moodlens.stats.gram import mean_weights

BITS = 8
"""Prompts per table: a code is a byte; four tables of 48 layers, 196 KB, stay in a core's second cache."""
AT_ONCE = 4
MIN_WORK = 1 << 29
"""Layers x pairs x relabellings above which the tables pay, compilation (seconds, then cached) included."""
_FAST = {"cache": True, "nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}


def pays(n_layers: int, n: int, n_perms: int) -> bool:
    """Return whether lookup tables are faster for sums of this size.

    >>> pays(48, 100, 10_000), pays(12, 36, 10_000)
    (True, False)
    """
    return n_layers * n * (n - 1) // 2 * n_perms >= MIN_WORK


def pair_sums(
    pairs: Float[np.ndarray, "layer prompt prompt"], labels: Int[np.ndarray, "perm prompt"]
) -> Float[np.ndarray, "layer perm"]:
    """Return sum over i < j of equal label of pairs[layer, i, j], in float32.

    Args:
        pairs: symmetric values; the diagonal is not read.
        labels: one labelling per row, from 0.
    """
    n_layers, n, _ = pairs.shape
    padded = -(-n // BITS) * BITS
    values = np.zeros((padded, padded, n_layers), np.float32)
    rows, columns = np.triu_indices(n, 1)
    values[rows, columns] = pairs[:, rows, columns].T
    by_prompt = np.ascontiguousarray(labels.T, dtype=np.int8)
    masks = np.zeros((padded // BITS, int(labels.max()) + 1, len(labels)), np.uint8)
    _mark(by_prompt, masks)
    out = np.zeros((len(labels), n_layers), np.float32)
    _add(values, by_prompt, masks, out)
    return out.T


@njit(**_FAST)
def _mark(labels, masks):  # pragma: no cover - compiled
    """Set bit j of masks[block, label, perm] where prompt j of the block carries the label."""
    for prompt in range(labels.shape[0]):
        bit = np.uint8(1 << (prompt % BITS))
        own = labels[prompt]
        for label in range(masks.shape[1]):
            mask = masks[prompt // BITS, label]
            for perm in range(own.size):
                mask[perm] |= bit * np.uint8(own[perm] == label)


@njit(**_FAST)
def _fill(table, terms):  # pragma: no cover - compiled
    """Write row c of a table: the sum of the terms (prompt, layer) whose bit is set in c."""
    table[0] = float32(0)
    for j in range(BITS):
        term = terms[j]
        for code in range(1 << j):
            without, with_it = table[code], table[(1 << j) + code]
            for layer in range(term.size):
                with_it[layer] = without[layer] + term[layer]


@njit(**_FAST)
def _add(values, labels, masks, out):  # pragma: no cover - compiled
    """Add to out (perm, layer), for every prompt and each later block of prompts, its row of the table."""
    n, n_perms = labels.shape
    n_layers = out.shape[1]
    tables = np.zeros((AT_ONCE, 1 << BITS, n_layers), np.float32)
    codes = np.zeros((AT_ONCE, n_perms), np.uint8)
    for block in range(masks.shape[0]):
        start = block * BITS
        for first in range(0, min(n, start + BITS), AT_ONCE):
            for q in range(AT_ONCE):
                _fill(tables[q], values[first + q, start : start + BITS])
                own = labels[min(first + q, n - 1)]  # the terms of a padding prompt are 0
                for perm in range(n_perms):
                    codes[q, perm] = masks[block, own[perm], perm]
            for perm in range(n_perms):
                a, b = tables[0, codes[0, perm]], tables[1, codes[1, perm]]
                c, d = tables[2, codes[2, perm]], tables[3, codes[3, perm]]
                total = out[perm]
                for layer in range(n_layers):
                    total[layer] += (a[layer] + b[layer]) + (c[layer] + d[layer])


PERMS_AT_ONCE, PAIRS_AT_ONCE = 512, 2048
"""Block of indicators that is formed and multiplied at once: 4 MB in float32, to stay in cache."""


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
    if alike and pays(n_layers, n, len(labels)):
        return np.ascontiguousarray(pair_sums(pairs, labels)) * weights.flat[0]
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

    The result is written to `buffers`: newly allocated memory costs more in page faults than the comparison.
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


BUFFER = 2**21
"""Numbers of one (perm, unit, klass) block."""


def dispersion_f(
    grams: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "site perm"]:
    """Return the dispersion F of every site under every labelling.

    Args:
        grams: Gram matrices of unit means.
        labels: relabellings, the observed one first: its group means are subtracted first.
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
