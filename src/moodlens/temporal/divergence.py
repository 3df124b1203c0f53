"""Early against late: do the emotions move apart while the music is made?

Both windows are tenths of the complete steps. In the first the music hardly differs yet, so what separates
there was read from the text.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.bootstrap import interval
from moodlens.stats.gram import centred, cosines
from moodlens.stats.similarity import within_between

BUFFER = 2**22
"""Numbers of one block of swapped Gram matrices: 32 MB in float64."""


@dataclass(frozen=True)
class Divergence:
    """One layer; effects are within - between of centred cosines, intervals by resampled units."""

    early: float
    late: float
    change: float  # late - early
    low: float
    high: float
    ratio: float | None  # late / early distance between emotions; None where either is not above 0
    ratio_low: float | None
    ratio_high: float | None
    raw_early: float  # cosine between emotions as it is, the measure the question was first asked in
    raw_late: float


def divergence(
    early: Float[np.ndarray, "unit d_model"],
    late: Float[np.ndarray, "unit d_model"],
    labels: Int[np.ndarray, " unit"],
    counts: Int[np.ndarray, "boot unit"],
    confidence: float,
) -> Divergence:
    """Return how the separation of the emotions changes from the early to the late window.

    The distance between emotions is the root of the mean squared distance of their means, estimated without
    the noise of the means: only products of different units enter (crossvalidated over units). It is in
    model units and grows with the norm of the states; the effect does not.

    Args:
        early: mean state of each unit over the first tenth of the steps.
        late: over the last tenth.
        labels: emotion of each unit.
        counts: bootstrap resamples.
        confidence: of the intervals.
    """
    once = np.ones((1, len(labels)), dtype=np.int64)
    effects, draws, squares, square_draws, raws = [], [], [], [], []
    for states in (early, late):
        wide = states.astype(np.float64)
        raw = wide @ wide.T
        gram = centred(raw)
        effects.append(float(np.subtract(*within_between(cosines(gram), labels, once))[0]))
        draws.append(np.subtract(*within_between(cosines(gram), labels, counts)))
        squares.append(np.subtract(*within_between(gram, labels, once)))
        square_draws.append(np.subtract(*within_between(gram, labels, counts)))
        raws.append(float(within_between(cosines(raw), labels, once)[1][0]))
    low, high = interval(draws[1] - draws[0], confidence)
    ratio = float(_root_ratio(squares[1], squares[0])[0])
    ratio_low, ratio_high = interval(_root_ratio(square_draws[1], square_draws[0]), confidence)
    known = np.isfinite([ratio, ratio_low, ratio_high]).all()
    ratios = (ratio, float(ratio_low), float(ratio_high)) if known else (None, None, None)
    return Divergence(effects[0], effects[1], effects[1] - effects[0], float(low), float(high), *ratios, *raws)


def _root_ratio(
    late: Float[np.ndarray, " boot"], early: Float[np.ndarray, " boot"]
) -> Float[np.ndarray, " boot"]:
    """Return sqrt(late / early); 0 where late is below 0, NaN where early is not above 0."""
    quotient = np.divide(np.maximum(late, 0), early, out=np.full(len(late), np.nan), where=early > 0)
    return np.sqrt(quotient)


def swapped_changes(
    early: Float[np.ndarray, "unit d_model"],
    late: Float[np.ndarray, "unit d_model"],
    labels: Int[np.ndarray, " unit"],
    swaps: Int[np.ndarray, "perm unit"],
) -> Float[np.ndarray, " perm"]:
    """Return |late - early| effect after exchanging the two windows of some units; row 0 swaps none.

    The paired permutation: were a unit's early and late states interchangeable, the change under random
    exchanges would be as large as the observed one. Each window is centred, and scaled to one variance,
    before the exchange, so that a growing norm or a drifting mean is not taken for divergence.
    """
    n = len(labels)
    both = [states - states.mean(axis=0) for states in (early.astype(np.float64), late.astype(np.float64))]
    joint = np.concatenate([states / np.sqrt(np.square(states).sum(axis=1).mean()) for states in both])
    gram = joint @ joint.T
    same = (labels[:, None] == labels[None, :]) & ~np.eye(n, dtype=bool)
    other = labels[:, None] != labels[None, :]
    changes = np.empty(len(swaps))
    step = max(1, BUFFER // (n * n))
    for start in range(0, len(swaps), step):
        part = swaps[start : start + step]
        effects = []
        for first in (part, 1 - part):
            rows = np.arange(n) + n * first
            taken = centred(gram[rows[:, :, None], rows[:, None, :]])
            norms = np.sqrt(np.maximum(np.diagonal(taken, axis1=1, axis2=2), np.finfo(float).tiny))
            similarity = taken / norms[:, :, None] / norms[:, None, :]
            within = (similarity * same).sum(axis=(1, 2)) / same.sum()
            effects.append(within - (similarity * other).sum(axis=(1, 2)) / other.sum())
        changes[start : start + step] = np.abs(effects[1] - effects[0])
    return changes


def swaps(n_units: int, n_permutations: int, rng: np.random.Generator) -> Int[np.ndarray, "perm unit"]:
    """Return which units exchange their windows: 1 + n_permutations rows, the first exchanges none."""
    table = rng.integers(0, 2, (n_permutations + 1, n_units))
    table[0] = 0
    return table
