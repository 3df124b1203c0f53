"""Metrics that are sums over pairs of units: similarity within emotions against similarity between emotions.

contrast     mean over pairs of one emotion - mean over pairs of two emotions (all pairs have equal weight)
discrepancy  mean over pairs of emotions (k, l) of W_k + W_l - 2 B_kl with weight n_k n_l; W_k and
             B_kl are the mean similarity within k and between k and l. For a kernel it is the unbiased MMD^2,
             for minus the distance it is the energy distance

Both leave out the diagonal (U-statistics: 0 on average where emotion has no effect). With equal groups every
pair of emotions has equal weight. With weights n_k n_l (those of DISCO) both need only sums over pairs of
equal label, for all sites and relabellings at once. Sources: Rizzo and Szekely 2010, DISCO analysis, Ann.
Appl. Stat. 4(2) (weights); Gretton et al. 2012, A kernel two-sample test, JMLR 13, lemma 6 (the U-statistic).

The linear MMD compares means; the RBF MMD detects any difference of distributions. Their kernels are the
similarities that `discrepancy` takes.

The sliced Wasserstein-1 distance is the mean, over random lines, of the distance along the line. Lines are
drawn in the coordinates that the Gram matrix gives (units on their principal axes). A uniform direction is
invariant to rotation, so the result is the distance in all d dimensions up to one constant factor (the mean
length of a d-dimensional direction within the span). That factor changes no p and no comparison at a site. On
a line W1 = integral |F_k - F_l|; emotions are compared in pairs with weights n_k n_l. Source: Bonneel et al.
2015, Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging Vis. 51.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.gram import squared_distances
from moodlens.stats.permanova import group_counts, same_label_sums


def contrast(
    pairs: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "site perm"]:
    """Return mean similarity within emotions minus between emotions.

    >>> near = -np.abs(np.subtract.outer([0.0, 1, 5, 6], [0.0, 1, 5, 6]))[None]
    >>> contrast(near, np.array([[0, 0, 1, 1]])).item()       # -1 within, -5 between
    4.0
    """
    sizes = _sizes(labels)
    within, total = same_label_sums(pairs, labels, np.ones(sizes.shape)), _total(pairs)
    n_within = (sizes * (sizes - 1) / 2).sum(axis=1)
    return within / n_within - (total - within) / (pairs.shape[1] * (pairs.shape[1] - 1) / 2 - n_within)


def discrepancy(
    pairs: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "site perm"]:
    """Return the mean discrepancy of two emotions; every emotion has at least two units.

    >>> near = -np.abs(np.subtract.outer([0.0, 1, 5, 6], [0.0, 1, 5, 6]))[None]
    >>> discrepancy(near, np.array([[0, 0, 1, 1]])).item()    # -1 - 1 + 2 * 5
    8.0
    """
    sizes, n = _sizes(labels).astype(np.float64), pairs.shape[1]
    # sum_{k<l} n_k n_l (W_k + W_l) = sum_k n_k (n - n_k) W_k, and W_k = S_k / (n_k (n_k - 1) / 2).
    weighted = same_label_sums(pairs, labels, 2 * (n - sizes) / (sizes - 1))
    cross = _total(pairs) - same_label_sums(pairs, labels, np.ones(sizes.shape))
    return (weighted - 2 * cross) / _cross_pairs(sizes)


def contrast_draws(
    pairs: Float[np.ndarray, "site unit unit"],
    labels: Int[np.ndarray, " unit"],
    counts: Int[np.ndarray, "boot unit"],
) -> Float[np.ndarray, "site boot"]:
    """Return `contrast` of bootstrap resamples; copies of one unit are never paired with each other."""
    within, size, cross, n_cross = _resampled(pairs, labels, counts)
    return within.sum(axis=2) / size.sum(axis=1) - cross / n_cross


def discrepancy_draws(
    pairs: Float[np.ndarray, "site unit unit"],
    labels: Int[np.ndarray, " unit"],
    counts: Int[np.ndarray, "boot unit"],
) -> Float[np.ndarray, "site boot"]:
    """Return `discrepancy` of bootstrap resamples; copies of one unit are never paired with each other.

    Where emotion has no effect a U-statistic is degenerate and these draws give no valid interval; use the
    permutation p there.
    """
    within, size, cross, _ = _resampled(pairs, labels, counts)
    sizes = np.bincount(labels).astype(np.float64)
    means = np.divide(within, size, out=np.full(within.shape, np.nan), where=size > 0)
    return ((means * sizes * (len(labels) - sizes)).sum(axis=2) - 2 * cross) / _cross_pairs(sizes[None])


def _resampled(pairs: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return sums over pairs of each emotion (site, boot, klass), their number (boot, klass), the sum over
    pairs of two emotions (site, boot) and their number (boot,)."""
    n_classes = int(labels.max()) + 1
    drawn = counts.astype(np.float64)
    others = np.where(np.eye(len(labels), dtype=bool), 0.0, pairs)
    parts = [drawn * (labels == klass) for klass in range(n_classes)]
    within = np.stack([np.einsum("sbj,bj->sb", part @ others, part) for part in parts], axis=2) / 2
    whole = np.einsum("sbj,bj->sb", drawn @ others, drawn) / 2
    size = np.stack([(part.sum(axis=1) ** 2 - (part**2).sum(axis=1)) / 2 for part in parts], axis=1)
    n_all = (drawn.sum(axis=1) ** 2 - (drawn**2).sum(axis=1)) / 2
    return within, size, whole - within.sum(axis=2), n_all - size.sum(axis=1)


def _sizes(labels: np.ndarray) -> np.ndarray:
    """Group sizes, (1, klass): relabelling keeps them."""
    return group_counts(labels[:1], int(labels.max()) + 1)


def _total(pairs: np.ndarray) -> np.ndarray:
    return ((pairs.sum(axis=(1, 2)) - np.trace(pairs, axis1=1, axis2=2)) / 2)[:, None]


def _cross_pairs(sizes: np.ndarray) -> float:
    return float((sizes.sum() ** 2 - (sizes**2).sum()) / 2)


def rbf_kernels(grams: Float[np.ndarray, "site unit unit"]) -> Float[np.ndarray, "site unit unit"]:
    """Return exp(-d^2 / (2 s^2)), with s the site's median distance between units. Labels are not used.

    Source: Gretton et al. 2012, A kernel two-sample test, JMLR 13, section 8 (median heuristic).
    """
    squared = squared_distances(grams)
    rows, columns = np.triu_indices(grams.shape[1], 1)
    median = np.median(squared[:, rows, columns], axis=1)[:, None, None]
    return np.exp(-squared / (2 * median))


def near(grams: Float[np.ndarray, "site unit unit"]) -> Float[np.ndarray, "site unit unit"]:
    """Return minus the distances between unit means: the discrepancy of these is the energy distance."""
    return -np.sqrt(squared_distances(grams))


BLOCK = 1024
"""Relabellings per block, so that a block fits the cache."""


def sliced_wasserstein(
    grams: Float[np.ndarray, "site unit unit"],
    labels: Int[np.ndarray, "perm unit"],
    n_slices: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "site perm"]:
    """Return the mean sliced W1 of two emotions, in RMS distances of a unit from the mean.

    Args:
        grams: centred Gram matrices of unit means at mean diagonal 1.
        labels: relabellings, the observed one first.
        n_slices: random lines per site.
        rng: source of the lines.
    """
    n_classes = int(labels.max()) + 1
    sizes = np.bincount(labels[0], minlength=n_classes)
    pairs = list(combinations(range(n_classes), 2))
    weight = sum(int(sizes[k] * sizes[m]) for k, m in pairs)
    kind = np.int16 if weight < np.iinfo(np.int16).max else np.int32
    out = np.zeros((len(grams), len(labels)))
    for site, gram in enumerate(grams):
        positions = _on_lines(gram, n_slices, rng)
        order = np.argsort(positions, axis=0)
        gaps = np.diff(np.take_along_axis(positions, order, axis=0), axis=0).astype(np.float32)
        for start in range(0, len(labels), BLOCK):
            part = np.ascontiguousarray(labels[start : start + BLOCK].T)
            out[site, start : start + BLOCK] = _along(part, order, gaps, sizes, pairs, kind)
    return out / (n_slices * weight)


def _on_lines(gram: np.ndarray, n_slices: int, rng: np.random.Generator) -> np.ndarray:
    """Return the position of each unit along each random line, (unit, slice)."""
    values, vectors = np.linalg.eigh(gram)
    nonzero = values > values.max() * 1e-9
    directions = rng.standard_normal((int(nonzero.sum()), n_slices))
    return vectors[:, nonzero] * np.sqrt(values[nonzero]) @ (directions / np.linalg.norm(directions, axis=0))


def _along(
    labels: np.ndarray,
    order: np.ndarray,
    gaps: np.ndarray,
    sizes: np.ndarray,
    pairs: list[tuple[int, int]],
    kind: type,
) -> np.ndarray:
    """Return sum over lines, gaps and pairs of gap |c_k n_l - c_l n_k|, c: units of an emotion passed.

    Args:
        labels: (unit, perm).
        order: units along each line, (unit, slice).
        gaps: between neighbours, (unit - 1, slice).
        sizes: units of each emotion.
        pairs: of emotions.
        kind: integers that hold n_k n_l summed over pairs.
    """
    scale = sizes.astype(kind)
    even = bool((sizes == sizes[0]).all())
    shape = (order.shape[1], labels.shape[1])
    passed = np.zeros((len(sizes), *shape), dtype=kind)
    apart, difference, other = (np.empty(shape, dtype=kind) for _ in range(3))
    total = np.zeros(shape[1], dtype=np.float64)
    for units, gap in zip(order[:-1], gaps, strict=True):
        row = labels[units]
        for klass in range(len(sizes)):
            passed[klass] += row == klass
        apart[:] = 0
        for k, m in pairs:
            if even:
                np.subtract(passed[k], passed[m], out=difference)
            else:
                np.multiply(passed[k], scale[m], out=difference)
                difference -= np.multiply(passed[m], scale[k], out=other)
            apart += np.abs(difference, out=difference)
        total += gap @ apart.astype(np.float32)
    return total * int(sizes[0]) if even else total
