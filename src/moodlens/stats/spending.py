"""Interim looks: the p that counts at each look, so that all looks together have error rate alpha.

Test statistics of growing data form a Brownian motion B(t), with t the share of the final information. A
two-sided test at look k rejects where |B(t_k)| / sqrt(t_k) exceeds its bound. Crossing probabilities come
from recursive integration of the density of B over the paths that have not crossed.

Sources: Armitage, McPherson and Rowe 1969 (the recursion); O'Brien and Fleming 1979 (bounds c / sqrt(t));
Lan and DeMets 1983 (spending alpha by a function of t, for looks that were not planned).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from moodlens.base.errors import UsageError, must

N_GRID = 301
"""Points of the density of B between the bounds; 301 and 801 agree to 1e-7 in every nominal level tried."""
FAR = 8.0
"""Bound, in standard deviations, of a look at which nothing is spent."""

Plan = Literal["o'brien-fleming", "lan-demets"]


def spent(alpha: float, fractions: Sequence[float], plan: Plan = "o'brien-fleming") -> tuple[float, ...]:
    """Return the nominal two-sided p that each look must fall below.

    Args:
        alpha: error rate of all looks together, in (0, 1).
        fractions: share of the final data at each look, increasing; the last is 1 if the plan is complete.
            Data are counted in units of replication: 10 then 20 prompts are 0.5 and 1.
        plan: `o'brien-fleming` if all looks are planned in advance. `lan-demets` spends alpha by the function
            4 - 4 Phi(z(alpha / 4) / sqrt(t)) and needs only the looks so far.

    Raises:
        UsageError: fractions do not rise within (0, 1], or alpha is no probability.

    >>> [round(level, 4) for level in spent(0.05, [0.5, 1.0])]
    [0.0052, 0.048]
    """
    times = _checked(alpha, fractions)
    if plan == "o'brien-fleming":

        def excess(c: float) -> float:
            return crossing(c / np.sqrt(times / times[-1]), times) - alpha

        bounds = _root(excess, 0.0) / np.sqrt(times / times[-1])
    else:
        bounds = _spending_bounds(alpha, times)
    return tuple(float(2 * norm.sf(bound)) for bound in bounds)


def position(n_per_emotion: int, looks: Sequence[int]) -> tuple[int, tuple[float, ...]]:
    """Return which of the planned looks this one is, from 0, and the share of the final data at each.

    Args:
        n_per_emotion: prompts per emotion of this look.
        looks: planned prompts per emotion; none: this is the only look.

    Raises:
        UsageError: the plan does not contain this number of prompts, or is not increasing.

    >>> position(20, (10, 20, 40))
    (1, (0.25, 0.5, 1.0))
    """
    plan = tuple(looks) or (n_per_emotion,)
    if list(plan) != sorted(set(plan)):
        advice = "List the prompts per emotion of each look, smallest first"
        raise UsageError(must("decide.looks", "increase", list(plan), where="params.yaml", next_step=advice))
    if n_per_emotion not in plan:
        rule = f"be one of the planned looks, {', '.join(map(str, plan))}"
        advice = "Use a planned number, or empty decide.looks to make this run the only look"
        raise UsageError(
            must("prompts.n_per_emotion", rule, n_per_emotion, where="params.yaml", next_step=advice)
        )
    return plan.index(n_per_emotion), tuple(n / plan[-1] for n in plan)


def level_at(alpha: float, n_per_emotion: int, looks: Sequence[int]) -> float:
    """Return the nominal level of this look; alpha itself where no looks are planned.

    >>> level_at(0.05, 16, ()), round(level_at(0.05, 10, (10, 20)), 4)
    (0.05, 0.0052)
    """
    at, fractions = position(n_per_emotion, looks)
    return spent(alpha, fractions)[at] if looks else alpha


def overall(levels: Sequence[float], fractions: Sequence[float]) -> float:
    """Return the error rate of all looks together where each uses its nominal two-sided level.

    >>> round(overall([0.05, 0.05], [0.5, 1.0]), 3)        # peeking once at half of the data
    0.083
    """
    times = _checked(max(levels), fractions)
    return crossing(norm.isf(np.asarray(levels) / 2), times)


def crossing(bounds: np.ndarray, times: np.ndarray) -> float:
    """Return the probability that |B(t)| / sqrt(t) exceeds its bound at any look."""
    paths = Paths()
    return sum(paths.look(float(bound), float(time)) for bound, time in zip(bounds, times, strict=True))


class Paths:
    """The density of B over the paths that no look has stopped so far."""

    def __init__(self) -> None:
        self.time = 0.0
        self.at = np.zeros(1)
        self.mass = np.ones(1)  # density times the weight of its grid point

    def crossed(self, bound: float, time: float) -> float:
        """Return the probability that the next look, at `time`, is the first to exceed `bound`."""
        spread, edge = np.sqrt(time - self.time), bound * np.sqrt(time)
        beyond = norm.sf((edge - self.at) / spread) + norm.sf((edge + self.at) / spread)
        return float(self.mass @ beyond)

    def look(self, bound: float, time: float) -> float:
        """Take the next look: return the value of `crossed` and keep only the paths below the bound."""
        crossed = self.crossed(bound, time)
        edge = min(bound, FAR) * np.sqrt(time)
        at = np.linspace(-edge, edge, N_GRID)
        spread = np.sqrt(time - self.time)
        density = norm.pdf((at[:, None] - self.at) / spread) @ self.mass / spread
        self.at, self.mass, self.time = at, density * _simpson(at), time
        return crossed


def _spending_bounds(alpha: float, times: np.ndarray) -> np.ndarray:
    cumulative = 4 * norm.sf(norm.isf(alpha / 4) / np.sqrt(times))
    paths, bounds, before = Paths(), [], 0.0
    for time, total in zip(times, cumulative, strict=True):
        here = total - before
        bound = FAR
        if paths.crossed(FAR, time) < here:
            bound = _root(lambda z, t=float(time), a=float(here): paths.crossed(z, t) - a, 0.0)
        before += paths.look(bound, float(time))
        bounds.append(bound)
    return np.array(bounds)


def _root(excess: Callable[[float], float], low: float) -> float:
    """Return where `excess` is 0 between `low` and `FAR`."""
    root: Any = brentq(excess, low, FAR, xtol=1e-10)
    return float(root)


def _simpson(at: np.ndarray) -> np.ndarray:
    weights = np.full(len(at), 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return weights * (at[1] - at[0]) / 3


def _checked(alpha: float, fractions: Sequence[float]) -> np.ndarray:
    if not 0 < alpha < 1:
        raise UsageError(must("alpha", "lie in (0, 1)", alpha, next_step="Correct it"))
    times = np.asarray(fractions, dtype=np.float64)
    if not len(times) or times[0] <= 0 or times[-1] > 1 or (np.diff(times) <= 0).any():
        advice = "Give the share of the final number of prompts at each look"
        raise UsageError(must("the looks", "rise within (0, 1]", list(fractions), next_step=advice))
    return times
