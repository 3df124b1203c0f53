"""Intervals over the training seeds of the SAEs: would another training say the same?

One SAE is one draw of its training. What is said of SAEs at a site therefore carries an interval over seeds.
It is a jackknife interval with Student's t, n - 1 degrees of freedom. For a number of each seed it equals the
ordinary t interval of the mean. Agreement is a number of each *pair* of seeds; pairs share seeds, so the mean
of a seed's pairs varies less than independent seeds would. Leaving out whole seeds counts that.

Fewer than `SEEDS_FOR_CLAIM` seeds describe the SAEs that were trained and license no claim.

Source: Arvesen 1969, Jackknifing U-statistics.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import t

SEEDS_FOR_CLAIM = 5


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds; without an interval where one seed was trained."""

    mean: float
    low: float | None
    high: float | None


def over_seeds(values: Float[np.ndarray, " seed"], confidence: float) -> OverSeeds:
    """Return the mean of a number of each seed, with its interval.

    >>> over_seeds(np.array([1.0]), 0.95)
    OverSeeds(mean=1.0, low=None, high=None)
    """
    left_out = np.array([np.delete(values, i).mean() for i in range(len(values)) if len(values) > 1])
    return _jackknife(float(values.mean()), left_out, confidence)


def over_pairs(values: Float[np.ndarray, "seed seed"], confidence: float) -> OverSeeds | None:
    """Return the mean over pairs of different seeds, with its interval; None with one seed.

    Args:
        values: of each ordered pair; the diagonal is not used.
        confidence: of the interval. Fewer than three seeds give none.
    """
    n = len(values)
    if n < 2:
        return None

    def mean(kept: np.ndarray) -> float:
        part = values[np.ix_(kept, kept)]
        return float(part[~np.eye(len(kept), dtype=bool)].mean())

    left_out = np.array([mean(np.delete(np.arange(n), i)) for i in range(n) if n > 2])
    return _jackknife(mean(np.arange(n)), left_out, confidence)


def _jackknife(mean: float, left_out: Float[np.ndarray, " seed"], confidence: float) -> OverSeeds:
    n = len(left_out)
    if n < 2:
        return OverSeeds(mean, None, None)
    error = np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum())
    reach = float(t.ppf((1 + confidence) / 2, n - 1) * error)
    return OverSeeds(mean, mean - reach, mean + reach)
