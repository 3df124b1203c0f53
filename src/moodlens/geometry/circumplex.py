"""Tests of the circumplex: distances between emotions at a site against distances in valence and arousal.

There are two separate questions. Over points (wordings): do distances follow valence and arousal at all? This
already holds if emotions merely differ, because two points of one emotion have expected distance 0. Over
emotions: among different emotions, are those that are close in valence and arousal close at the site? Four
emotions have six distances and 4! = 24 relabellings, so the second question cannot give a p below 1/24. Its
interval resamples wordings. Source: Kriegeskorte, Mur and Bandettini 2008, Representational similarity
analysis; Russell 1980.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from moodlens.stats.permutation import p_values


def affect_distances(affect: Float[np.ndarray, "klass 2"]) -> Float[np.ndarray, "klass klass"]:
    """Return the Euclidean distances of the emotions in valence and arousal.

    >>> affect_distances(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    return np.sqrt(np.square(affect[:, None] - affect[None, :]).sum(axis=2))


def rank_correlations(
    squares: Float[np.ndarray, "point point"],
    expected: Float[np.ndarray, "klass klass"],
    table: Int[np.ndarray, "perm point"],
) -> Float[np.ndarray, " perm"]:
    """Return Spearman's rho of the points' distances with their emotions' expected ones, per labelling.

    All pairs of different points are used. Relabelling whole points keeps the sizes of the emotions, so the
    ranks of the expected distances are computed once.

    Args:
        squares: squared distances of the points; only their order matters.
        expected: distances of the emotions, diagonal 0.
        table: labellings, the observed one first.
    """
    n, n_classes = len(squares), len(expected)
    rows, columns = np.triu_indices(n, 1)
    ranks = np.zeros((n, n))
    ranks[rows, columns] = rankdata(squares[rows, columns])
    ranks += ranks.T
    middle = (len(rows) + 1) / 2
    labels = table[0].astype(np.intp)
    of_pairs = rankdata(expected[labels[rows], labels[columns]])
    by_pair = np.zeros((n_classes, n_classes))
    by_pair[labels[rows], labels[columns]] = of_pairs
    by_pair[labels[columns], labels[rows]] = of_pairs
    onehot = (table[:, :, None] == np.arange(n_classes, dtype=table.dtype)).astype(np.float64)
    off = ranks - middle
    np.fill_diagonal(off, 0)
    sums = np.swapaxes(onehot, 1, 2) @ (off @ onehot)
    covariance = (sums * (by_pair - middle)).sum(axis=(1, 2)) / 2
    spread = np.square(off).sum() / 2 * np.square(of_pairs - middle).sum()
    return covariance / np.sqrt(spread) if spread > 0 else np.zeros(len(table))


def emotion_distances(
    gram: Float[np.ndarray, "point point"],
    labels: Int[np.ndarray, " point"],
    counts: Int[np.ndarray, "boot point"],
) -> Float[np.ndarray, "boot klass klass"]:
    """Return the squared distances of the emotions' means, without the bias from the noise of those means.

    |m_a - m_b|^2 = <a, a'> + <b, b'> - 2 <a, b> as means over pairs of different points. This is the
    crossvalidated distance over all splits of the points, and it may be negative. A point drawn twice is
    never paired with itself. The result is NaN if an emotion has only one point left.

    Source: Walther et al. 2016, Reliability of dissimilarity measures, eq. 6 (without noise normalisation).
    """
    onehot = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
    weighted = counts[:, :, None] * onehot
    off = gram.copy()
    np.fill_diagonal(off, 0)
    sums = np.swapaxes(weighted, 1, 2) @ (off @ weighted)
    sizes = weighted.sum(axis=1)
    pairs = sizes[:, :, None] * sizes[:, None, :]
    twice = np.square(weighted).sum(axis=1)
    for klass in range(onehot.shape[1]):
        pairs[:, klass, klass] -= twice[:, klass]
    means = np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)
    own = np.diagonal(means, axis1=1, axis2=2)
    return own[:, :, None] + own[:, None, :] - 2 * means


@dataclass(frozen=True)
class Nearness:
    """Mean distance of all other pairs minus that of one pair, as a share of the mean distance."""

    value: float  # positive: the pair is closer, as predicted
    low: float
    high: float


@dataclass(frozen=True)
class EmotionMap:
    """Comparison of the emotions of one site with the circumplex."""

    distances: Float[np.ndarray, "klass klass"]  # divided by their mean; a negative estimate stays negative
    r: float | None  # Pearson correlation with valence-arousal distances; None with two emotions
    low: float | None
    high: float | None
    p: float | None  # over all relabellings of the emotions
    near: dict[tuple[int, int], Nearness]  # pairs predicted to be close


def emotion_map(
    gram: Float[np.ndarray, "point point"],
    labels: Int[np.ndarray, " point"],
    expected: Float[np.ndarray, "klass klass"],
    counts: Int[np.ndarray, "boot point"],
    confidence: float,
    predicted: tuple[tuple[int, int], ...],
) -> EmotionMap | None:
    """Return the arrangement of the emotions of a site; None if the emotions are not separated.

    They are separated if the mean squared distance stays above zero in the resamples. Otherwise the map would
    be noise divided by noise.

    Args:
        gram: of the points.
        labels: emotion of each point.
        expected: valence-arousal distances of the emotions.
        counts: bootstrap resamples of the points.
        confidence: of the intervals.
        predicted: pairs of emotions that are close in the circumplex; the first index is the lower.
    """
    rows, columns = np.triu_indices(len(expected), 1)
    once = np.ones((1, len(labels)), dtype=np.int64)
    squares = emotion_distances(gram, labels, np.concatenate([once, counts]))[:, rows, columns]
    drawn = squares[1:][np.isfinite(squares[1:]).all(axis=1)]
    tail = (1 - confidence) / 2
    if not len(drawn) or squares[0].mean() <= 0 or (drawn.mean(axis=1) <= 0).mean() > tail:
        return None
    roots, drawn = _roots(squares[:1]), _roots(drawn)
    wanted = expected[rows, columns]
    r = low = high = p = None
    if len(rows) > 2 and wanted.std() > 0:
        r = float(_correlation(roots, wanted)[0])
        low, high = (float(v) for v in np.quantile(_correlation(drawn, wanted), (tail, 1 - tail)))
        orders = [list(order) for order in permutations(range(len(expected)))]
        renamed = np.stack([expected[np.ix_(order, order)][rows, columns] for order in orders])
        p = float(p_values(_correlation(renamed, roots[0])))
    near = {}
    for first, second in predicted:
        pair = (rows == first) & (columns == second)
        low_near, high_near = np.quantile(_nearer(drawn, pair), (tail, 1 - tail))
        near[first, second] = Nearness(float(_nearer(roots, pair)[0]), float(low_near), float(high_near))
    distances = np.zeros_like(expected)
    distances[rows, columns] = distances[columns, rows] = roots[0] / roots[0].mean()
    return EmotionMap(distances, r, low, high, p, near)


def smallest_emotion_p(n_classes: int) -> float:
    """Return the smallest p that relabelling the emotions can give, 1 / k!.

    >>> round(smallest_emotion_p(4), 4)
    0.0417
    """
    return 1 / float(np.prod(np.arange(1, n_classes + 1)))


def _roots(squares: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return signed square roots: a negative estimate stays negative."""
    return np.sign(squares) * np.sqrt(np.abs(squares))


def _correlation(
    rows: Float[np.ndarray, "boot pair"], wanted: Float[np.ndarray, " pair"]
) -> Float[np.ndarray, " boot"]:
    moved = rows - rows.mean(axis=1, keepdims=True)
    target = wanted - wanted.mean()
    norm = np.sqrt(np.square(moved).sum(axis=1) * (target @ target))
    return np.divide(moved @ target, norm, out=np.zeros(len(rows)), where=norm > 0)


def _nearer(
    roots: Float[np.ndarray, "boot pair"], pair: Bool[np.ndarray, " pair"]
) -> Float[np.ndarray, " boot"]:
    """Return (mean of the other distances - that of the pair) / mean of all."""
    mean = roots.mean(axis=1)
    gap = roots[:, ~pair].mean(axis=1) - roots[:, pair].mean(axis=1)
    return np.divide(gap, mean, out=np.zeros(len(roots)), where=mean > 0)
