"""The tests behind the verdict: sign flips over units, and the rank among null directions.

Sign flips ask whether the units agree; they are two-sided. The rank asks whether any displacement of the
same size would have moved the music as far. The exchange into text one and the null directions share their
plain clip, whose noise they share too, and any displacement may push music alike. So each is measured from
the mean of all of them. A null direction v is as likely to be drawn as -v: its distance counts, whatever its
sign.

Where both halves chose one place, draw d is one direction for all units, as the exchange is, and all units
are ranked together. Where they chose two, draw d is another direction in each half. Averaging two of them
would make the nulls narrower than the exchange's own luck, so each half is ranked alone and the larger p
counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.forks.shares import family_p, t_interval
from moodlens.forks.verdicts import Bars as ForkBars
from moodlens.stats.sign_flip import smallest_flip_p
from moodlens.use.discovery import N_HALVES
from moodlens.use.effects import Effects


@dataclass(frozen=True)
class Bars(ForkBars):
    """Thresholds of the verdict; those of the rank p are inclusive."""

    rank_strong: float = 0.005  # 199 draws
    rank_weak: float = 0.025  # 39 draws


@dataclass(frozen=True)
class Plan:
    """How the analysis is done."""

    bars: Bars
    confidence: float
    n_flips: int
    seed: int


@dataclass(frozen=True)
class Arm:
    """The mean of one effect over units, in units of the total."""

    name: str
    share: float
    low: float  # interval at `confidence`, over units
    high: float
    narrow_low: float  # interval at 1 - 2 alpha: equivalence tests it against the margin
    narrow_high: float
    p: float  # sign flips of whole units, two-sided, unadjusted


@dataclass(frozen=True)
class Evidence:
    """Everything that the verdict reads."""

    mediated: Arm
    sufficiency: Arm
    necessity: Arm
    controls: tuple[Arm, ...]  # wording and seed: must be null
    net_p: float  # sign flips of (mediated - mean null - wording)
    rank_p: float  # of all units, or the larger one of the halves
    n_units: int
    n_flips: int
    n_draws: int

    @property
    def p(self) -> float:
        """Return the p that counts: the largest of the net effect's, sufficiency's and necessity's."""
        return max(self.net_p, self.sufficiency.p, self.necessity.p)

    @property
    def smallest_p(self) -> float:
        """Return the smallest p that the sign flips can give."""
        return smallest_flip_p(self.n_units, self.n_flips)

    @property
    def smallest_rank_p(self) -> float:
        """Return the smallest rank p that the draws can give."""
        return 1 / (self.n_draws + 1)


def evidence_of(
    effects: Effects,
    arms: Mapping[str, Arm],
    half_of: Int[np.ndarray, " unit"],
    plan: Plan,
    rng: np.random.Generator,
    *,
    one_place: bool,
) -> Evidence:
    """Return the evidence on use.

    Args:
        effects: of all units.
        arms: of these effects, from `arms_of`.
        half_of: 0 or 1 for each unit.
        one_place: whether both halves chose the same place.
        plan: how it is done.
        rng: of the sign flips.
    """
    halves = [effects.of(np.flatnonzero(half_of == half)) for half in range(N_HALVES)]
    ranked = rank_p(effects) if one_place else max(map(rank_p, halves))
    return Evidence(
        mediated=arms["mediated"],
        sufficiency=arms["sufficiency"],
        necessity=arms["necessity"],
        controls=(arms["wording"], arms["seed"]),
        net_p=flip_p(effects.net, plan, rng),
        rank_p=ranked,
        n_units=len(effects.units),
        n_flips=plan.n_flips,
        n_draws=len(effects.nulls),
    )


def arm_of(name: str, values: Float[np.ndarray, " unit"], plan: Plan, rng: np.random.Generator) -> Arm:
    """Return the mean of an effect over units, with its intervals and p."""
    narrow = t_interval(values, 1 - 2 * plan.bars.alpha_weak)
    p = flip_p(values, plan, rng)
    return Arm(name, float(values.mean()), *t_interval(values, plan.confidence), *narrow, p)


def flip_p(values: Float[np.ndarray, " unit"], plan: Plan, rng: np.random.Generator) -> float:
    """Return the two-sided p of a mean over units by flipping the signs of whole units."""
    return float(family_p([values], plan.n_flips, rng)[0])


def rank_p(effects: Effects) -> float:
    """Return the rank of the exchange among the null directions, as a p: distances from their common mean."""
    exchange, nulls = effects.paired.mean(), effects.nulls.mean(axis=1)
    middle = np.append(nulls, exchange).mean()
    reached = np.abs(nulls - middle) >= exchange - middle
    return float((1 + reached.sum()) / (len(reached) + 1))


def arms_of(effects: Effects, plan: Plan, rng: np.random.Generator) -> dict[str, Arm]:
    """Return name -> every effect's mean over units; `random` is the mean over the null directions."""
    names = (
        "mediated", "sufficiency", "necessity", "inside", "outside", "on", "off", "wording", "seed",
    )  # fmt: skip
    values = {name: getattr(effects, name) for name in names} | {"random": effects.nulls.mean(axis=0)}
    return {name: arm_of(name, one, plan, rng) for name, one in values.items()}
