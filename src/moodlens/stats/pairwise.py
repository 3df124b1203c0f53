"""Metrics that are sums over pairs of units: how alike within an emotion, how unlike between emotions.

contrast     mean over pairs of one emotion - mean over pairs of two emotions (all pairs weigh alike)
discrepancy  mean over pairs of emotions (k, l) of W_k + W_l - 2 B_kl, with weight n_k n_l; W_k, B_kl: mean
             similarity within k, between k and l. Of a kernel it is MMD^2, of -distance the energy distance

Both leave out the diagonal (U-statistics: 0 on average where emotion does nothing). With equal groups every
pair of emotions weighs alike; with weights n_k n_l (those of DISCO) both need only sums over pairs of equal
label, for all sites and relabellings at once.

Source: Rizzo and Szekely 2010, DISCO analysis, Ann. Appl. Stat. 4(2) (weights); Gretton et al. 2012, A kernel
two-sample test, JMLR 13, lemma 6 (the U-statistic).
"""

import numpy as np
from jaxtyping import Float, Int

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

    Where emotion does nothing a U-statistic is degenerate and these draws are no valid interval: there the
    permutation p speaks.
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
