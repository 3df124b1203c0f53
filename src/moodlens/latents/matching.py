"""Control sets: as many other latents as a chosen set has, each of the same activity as its partner.

What a set of latents does to a reconstruction grows with their number and with how much they fire. A contrast
with other latents therefore says something of the chosen ones only where the others are as many and as
active. Activity is the firing rate (share of rows on which a latent fires) and the mean activation. Two
latents match where both are within one factor of each other. A set without enough partners has no control:
the result is a `Shortage`, never a smaller set.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

FORBIDDEN = 1e6
"""Cost of a pair beyond the tolerance, above the sum of all lawful ones, so that few are taken."""


@dataclass(frozen=True)
class Activity:
    """How much each latent is used, whatever the labels."""

    rate: Float[np.ndarray, " latent"]  # share of rows on which it fires
    mean: Float[np.ndarray, " latent"]  # mean activation

    @property
    def fires(self) -> Bool[np.ndarray, " latent"]:
        return (self.rate > 0) & (self.mean > 0)


@dataclass(frozen=True)
class Shortage:
    """Why there is no matched control."""

    needed: int
    available: int  # the pool where it is smaller than needed; else latents with a partner within tolerance
    factor: float

    @property
    def sentence(self) -> str:
        """Return the reason as the record and the page give it.

        >>> Shortage(591, 177, 2.0).sentence
        'no matched control: 591 needed, 177 available (within a factor of 2 in firing rate and activation)'
        """
        within = f"within a factor of {self.factor:g} in firing rate and activation"
        return f"no matched control: {self.needed} needed, {self.available} available ({within})"


def distances(
    activity: Activity, chosen: Int[np.ndarray, " chosen"], pool: Int[np.ndarray, " pool"]
) -> Float[np.ndarray, "chosen pool"]:
    """Return the larger of the two |log ratios| of rate and of mean; infinite where one never fires.

    >>> both = Activity(np.array([0.1, 0.2]), np.array([1.0, 8.0]))
    >>> np.exp(distances(both, np.array([0]), np.array([1]))).round(6).tolist()
    [[8.0]]
    """
    apart = np.zeros((len(chosen), len(pool)))
    for values in (activity.rate, activity.mean):
        logs = np.log(np.where(activity.fires, values, 1.0))
        np.maximum(apart, np.abs(logs[chosen][:, None] - logs[pool]), out=apart)
    silent = ~activity.fires[chosen][:, None] | ~activity.fires[pool]
    return np.where(silent, np.inf, apart)


def matched(
    activity: Activity,
    chosen: Int[np.ndarray, " chosen"],
    pool: Int[np.ndarray, " pool"],
    factor: float,
) -> Int[np.ndarray, " chosen"] | Shortage:
    """Return the partner of each chosen latent: nearest in activity, no partner twice.

    The sum of the distances is the least possible (Hungarian method), so a shortage is never due to an order
    in which partners were taken.

    Args:
        activity: of all latents.
        chosen: indices of the latents that need a partner.
        pool: indices of the latents that may be one; none of them is chosen.
        factor: tolerance. Firing rates and mean activations of partners differ by at most this factor.
    """
    short = _short(activity, chosen, pool, factor)
    return short or _assigned(distances(activity, chosen, pool), None, pool, factor)


def matched_draws(
    activity: Activity,
    chosen: Int[np.ndarray, " chosen"],
    pool: Int[np.ndarray, " pool"],
    factor: float,
    n_draws: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "draw chosen"] | Shortage:
    """Return random partners of the chosen latents, all within the tolerance, no partner twice in a draw.

    Args:
        activity, chosen, pool, factor: as in `matched`.
        n_draws: number of sets.
        rng: draws them.
    """
    if short := _short(activity, chosen, pool, factor):
        return short
    apart, draws = distances(activity, chosen, pool), []
    for _ in range(n_draws):
        one = _assigned(apart, rng.random(apart.shape), pool, factor)
        if isinstance(one, Shortage):
            return one
        draws.append(one)
    return np.stack(draws)


def _short(
    activity: Activity, chosen: Int[np.ndarray, " chosen"], pool: Int[np.ndarray, " pool"], factor: float
) -> Shortage | None:
    """The shortage of a pool with fewer firing latents than are chosen, whatever their activity."""
    n_firing = int(activity.fires[pool].sum())
    return Shortage(len(chosen), n_firing, factor) if n_firing < len(chosen) else None


def _assigned(
    apart: Float[np.ndarray, "chosen pool"],
    preferences: Float[np.ndarray, "chosen pool"] | None,
    pool: Int[np.ndarray, " pool"],
    factor: float,
) -> Int[np.ndarray, " chosen"] | Shortage:
    """The assignment of least cost (distance, or the preferences given) among the pairs within tolerance."""
    lawful = apart <= np.log(factor) * (1 + 1e-12)
    cost = np.where(lawful, apart if preferences is None else preferences, FORBIDDEN)
    rows, columns = linear_sum_assignment(cost)
    available = int(lawful[rows, columns].sum())
    if available < len(apart):
        return Shortage(len(apart), available, factor)
    return pool[columns]
