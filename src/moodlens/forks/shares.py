"""From judged continuations to the share of each source: contrasts by pair of wordings, intervals, p-values.

The unit is the pair of wordings: clips of its slots and seeds are averaged first. A unit's contrast is the
judge's log-odds of side one minus side other; its donor contrast is side one minus side donor, the same
emotion in other words. Shares divide by the total: the mean contrast of the two whole clips, per pair of
emotions. Where the text moves the music too little for that, they divide by the judge's own gap between the
two emotions, and say so.

Source: Schuirmann 1987, A comparison of the two one-sided tests procedure (equivalence).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from moodlens.forks.cells import ALL, DONOR, ONE, OTHER
from moodlens.stats.multiplicity import max_t
from moodlens.stats.sign_flip import flipped_t, random_signs

SMALLEST_TOTAL = 0.25
"""Share of the judge's own gap that the whole clips must reach before shares divide by their contrast."""


@dataclass(frozen=True)
class Contrasts:
    """One source at one step, or at one layer or window of it: a value per unit."""

    values: Float[np.ndarray, " unit"]  # one minus other, in units of the total
    donors: Float[np.ndarray, " unit"]  # one minus donor, likewise; 0 where there is no donor


@dataclass(frozen=True)
class Share:
    """The share of the total that one source carries at one step."""

    share: float
    low: float  # interval at `confidence`, over units
    high: float
    narrow_low: float  # interval at 1 - 2 alpha: equivalence tests it against the margin
    narrow_high: float
    donor: float  # mean donor contrast, in units of the total
    p: float  # sign flips of (contrast - donor contrast) of whole units, adjusted over the family (maxT)
    n_units: int


@dataclass(frozen=True)
class Series:
    """The shares of one source over the fork steps."""

    source: str
    steps: tuple[int, ...]
    shares: tuple[Share, ...]  # per step
    mean: Share  # of the contrasts averaged over the steps
    nats: tuple[float, ...]  # per step: mean nats per token of the continuations


def mean_of(family: Sequence[Contrasts]) -> Contrasts:
    """Return the contrasts of every unit, averaged over a family."""
    values, donors = (
        np.mean([getattr(one, name) for one in family], axis=0) for name in ("values", "donors")
    )
    return Contrasts(values, donors)


@dataclass(frozen=True)
class Total:
    """What the shares divide by."""

    per_pair: Mapping[str, float]  # pair of emotions -> log-odds
    of_judge: bool  # the judge's own gap, because whole clips differ too little
    share_of_gap: float  # mean contrast of whole clips, as a share of the judge's gap
    p: float  # sign flips of the whole clips' contrasts

    @property
    def moved(self) -> bool:
        """Whether the prompts move the judge: the positive control."""
        return not self.of_judge


def by_unit(cells: pd.DataFrame, side: str, value: str) -> Any:
    """Return the mean of `value` over slots and seeds of one side, a Series by (pair, unit)."""
    return cells[cells["side"] == side].groupby(["pair", "unit"], sort=True)[value].mean()


def total_of(
    cells: pd.DataFrame, gaps: Mapping[str, float], alpha: float, n_flips: int, rng: np.random.Generator
) -> Total:
    """Return the total of every pair of emotions.

    Args:
        cells: continuations with columns pair, unit, source, side, log_odds.
        gaps: pair -> the judge's own gap.
        alpha: level of the positive control.
        n_flips, rng: of its sign flips.
    """
    return total_of_clips(pd.DataFrame(cells[cells["source"] == ALL]), gaps, alpha, n_flips, rng)


def total_of_clips(
    whole: pd.DataFrame, gaps: Mapping[str, float], alpha: float, n_flips: int, rng: np.random.Generator
) -> Total:
    """Return the total of every pair of emotions from whole clips.

    Args:
        whole: clips with columns pair, unit, side, log_odds.
        gaps, alpha, n_flips, rng: as in `total_of`.
    """
    contrast = by_unit(whole, ONE, "log_odds") - by_unit(whole, OTHER, "log_odds")
    pairs = contrast.index.get_level_values("pair")
    scaled = contrast.to_numpy() / np.array([gaps[pair] for pair in pairs])
    p = family_p([scaled], n_flips, rng)[0]
    share = float(scaled.mean())
    moved = p < alpha and share >= SMALLEST_TOTAL
    means = contrast.groupby("pair").mean()
    per_pair = {str(pair): float(means[pair]) if moved else gaps[pair] for pair in sorted(set(pairs))}
    return Total(per_pair, not moved, share, p)


def contrasts_of(cells: pd.DataFrame, total: Total, value: str = "log_odds") -> Contrasts:
    """Return the contrasts of the cells of one source at one place, units in order of (pair, unit)."""
    one = by_unit(cells, ONE, value)
    scale = np.array([total.per_pair[pair] for pair in one.index.get_level_values("pair")])
    values = (one - by_unit(cells, OTHER, value)).to_numpy() / scale
    donors = by_unit(cells, DONOR, value)
    same = (one - donors).to_numpy() / scale if len(donors) else np.zeros(len(one))
    return Contrasts(values, same)


def family_p(
    contrasts: Sequence[Float[np.ndarray, " unit"]], n_flips: int, rng: np.random.Generator
) -> Float[np.ndarray, " test"]:
    """Return two-sided sign-flip p-values adjusted over the family by the maximum of |t|."""
    values = np.stack(contrasts)
    return max_t(flipped_t(values, random_signs(values.shape[1], n_flips, rng)))


def shares_of(
    family: Sequence[Contrasts], confidence: float, alpha: float, n_flips: int, rng: np.random.Generator
) -> list[Share]:
    """Return the share of every member of a family of tests, which share their p-values' adjustment."""
    p_values = family_p([one.values - one.donors for one in family], n_flips, rng)
    out = []
    for one, p in zip(family, p_values, strict=True):
        low, high = t_interval(one.values, confidence)
        narrow_low, narrow_high = t_interval(one.values, 1 - 2 * alpha)
        mean, donor = float(one.values.mean()), float(one.donors.mean())
        out.append(Share(mean, low, high, narrow_low, narrow_high, donor, float(p), len(one.values)))
    return out


def t_interval(values: Float[np.ndarray, " unit"], confidence: float) -> tuple[float, float]:
    """Return the t interval of the mean of independent units.

    >>> low, high = t_interval(np.array([1.0, 2.0, 3.0]), 0.95)
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    n = len(values)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean() - half), float(values.mean() + half)
