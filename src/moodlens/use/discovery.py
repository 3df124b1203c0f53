"""Where the exchange moves most: chosen in each half of the units, to be tested on the other half.

Units (pairs of wordings) are dealt to two halves at random, each pair of emotions split as evenly as can be.
In each half the place with the largest share is chosen among those that are significant there (maxT over
places); where none is, the place with the largest t. The noise of free play does not depend on the place, so
the largest share gives the test the most power. The figures of a unit are divided by the mean `whole` of its
pair of emotions in the same half, so a half's choice reads nothing of the other half.

The table of all places uses all units. Its p-values are adjusted over the places by maxT. It says where the
states matter to the likelihood of given clips; it carries no claim about what the model does when it is free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, Unsupported, must
from moodlens.base.seeding import rng_for
from moodlens.forks.shares import family_p, t_interval
from moodlens.stats.sign_flip import FEWEST_UNITS, flipped_t
from moodlens.use.places import Place, place_at

Unit = tuple[str, str]
"""The pair of emotions, and the two wordings."""
N_HALVES = 2
LEVEL = 0.05
"""Level of the search. It carries no claim: it keeps places of a large share by luck from being chosen."""


@dataclass(frozen=True)
class Candidate:
    """One place of wave 1."""

    place: Place
    share: float  # of the nats per token by which the other text makes a clip less likely; all units
    low: float  # interval over units
    high: float
    p: float  # sign flips of whole units, adjusted over the places (maxT); all units
    t: tuple[float, float]  # in each half
    half_p: tuple[float, float]  # in each half, adjusted over the places


@dataclass(frozen=True)
class Found:
    """The place that each half chose, and what it was chosen from."""

    half_of: Mapping[Unit, int]
    chosen: tuple[Place, Place]  # by each half
    candidates: tuple[Candidate, ...]
    whole: Mapping[
        str, float
    ]  # pair of emotions -> nats per token that the other text costs, both clips' sum
    whole_p: float  # sign flips: does the other text make a clip less likely? Else shares mean nothing

    def tested_at(self, unit: Unit) -> Place:
        """Return the place at which a unit is tested: the one that the half without it chose."""
        return self.chosen[1 - self.half_of[unit]]

    def units(self, half: int) -> list[Unit]:
        """Return the units of a half."""
        return [unit for unit, its_half in self.half_of.items() if its_half == half]


def deal(units: Sequence[Unit], seed: int) -> dict[Unit, int]:
    """Return the half, 0 or 1, of every unit. Pairs of emotions are split evenly, and so is their sum.

    Raises:
        Unsupported: too few units for two halves.
    """
    if len(set(units)) < FEWEST_UNITS:
        advice = "Add prompts with other wordings"
        raise Unsupported(
            must("interchange", f"have at least {FEWEST_UNITS} units", len(set(units)), next_step=advice)
        )
    rng = rng_for("interchange halves", seed)
    out: dict[Unit, int] = {}
    for pair in sorted({pair for pair, _ in units}):
        members = sorted({unit for unit in units if unit[0] == pair})
        # The half that is behind, or half 0, starts: it gets the odd unit.
        in_first = sum(half == 0 for half in out.values())
        start = int(in_first > len(out) - in_first)
        for position, index in enumerate(rng.permutation(len(members))):
            out[members[index]] = (start + position) % N_HALVES
    return dict(sorted(out.items()))


def find(scores: pd.DataFrame, seed: int, n_flips: int, confidence: float) -> Found:
    """Return the place that each half of the units chooses, and the figures of all places.

    Args:
        scores: `contracts.tables.SCORES`, every place of every row.
        seed: of the halves and of the sign flips.
        n_flips: of every p-value.
        confidence: of the intervals.

    Raises:
        Unsupported: too few units for two halves.
        ContractError: a place was not read in some unit.
    """
    rng = rng_for("interchange discovery", seed)
    order, units, moved, whole = _by_unit(scores)
    half_of = deal(units, seed)
    halves = np.array([half_of[unit] for unit in units])
    pairs = np.array([pair for pair, _ in units])

    t, half_p, shares = [], [], []
    for half in range(N_HALVES):
        values = _in_wholes(moved, whole, pairs, np.flatnonzero(halves == half))
        t.append(_t(values))
        shares.append(values.mean(axis=1))
        half_p.append(family_p(list(values), n_flips, rng))
    everyone = np.arange(len(units))
    values = _in_wholes(moved, whole, pairs, everyone)
    p = family_p(list(values), n_flips, rng)
    candidates = []
    for at, place in enumerate(order):
        low, high = t_interval(values[at], confidence)
        in_halves = (float(t[0][at]), float(t[1][at])), (float(half_p[0][at]), float(half_p[1][at]))
        share = float(values[at].mean())
        candidates.append(Candidate(place, share, low, high, float(p[at]), *in_halves))
    best = [candidates[_best(*one)].place for one in zip(shares, half_p, t, strict=True)]
    return Found(
        half_of=half_of,
        chosen=(best[0], best[1]),
        candidates=tuple(candidates),
        whole={str(pair): float(whole[pairs == pair].mean()) for pair in np.unique(pairs)},
        whole_p=float(family_p([_in_wholes(whole[None], whole, pairs, everyone)[0]], n_flips, rng)[0]),
    )


def _best(
    shares: Float[np.ndarray, " place"], p: Float[np.ndarray, " place"], t: Float[np.ndarray, " place"]
) -> int:
    """Return the place with the largest share among the significant ones, else that with the largest t."""
    significant = (p < LEVEL) & (t > 0)
    return int(np.argmax(np.where(significant, shares, -np.inf) if significant.any() else t))


def _by_unit(scores: pd.DataFrame) -> tuple[list[Place], list[Unit], np.ndarray, np.ndarray]:
    """Return places and units, moved (place, unit) and whole (unit,): sums over clips, means over rows."""
    columns = ["hookpoint", "first", "stop"]
    moved, whole = (scores[f"{name}_one"] + scores[f"{name}_other"] for name in ("moved", "whole"))
    table: Any = scores.assign(moved=moved, whole=whole).groupby(["pair", "unit", *columns], sort=False)
    wide: Any = table["moved"].mean().unstack(["pair", "unit"]).sort_index(axis=1)
    if wide.isna().to_numpy().any():
        n_missing = int(wide.isna().to_numpy().sum())
        rule, got = "hold every place of every unit", f"{n_missing} places of units missing"
        raise ContractError(must("scores of interchange", rule, got, next_step="Run the stage again"))
    wide = wide.loc[list(dict.fromkeys(scores[columns].itertuples(index=False, name=None)))]
    by_unit: Any = scores.assign(whole=whole).groupby(["pair", "unit"], sort=True)["whole"]
    units = [(str(pair), str(unit)) for pair, unit in wide.columns]
    return [place_at(*key) for key in wide.index], units, wide.to_numpy(), by_unit.mean().to_numpy()


def _in_wholes(
    moved: Float[np.ndarray, "place unit"],
    whole: Float[np.ndarray, " unit"],
    pairs: np.ndarray,
    members: Int[np.ndarray, " member"],
) -> Float[np.ndarray, "place member"]:
    """Return the figures of some units, divided by the mean whole of their pair of emotions among them.

    Where the other text makes clips more likely, as it can by chance in a model that ignores its text, the
    mean size of the wholes takes the place of their mean. So no sign is turned.
    """
    scale = np.ones(len(members))
    for pair in np.unique(pairs[members]):
        of_pair = pairs[members] == pair
        values = whole[members][of_pair]
        size = float(values.mean()) if values.mean() > 0 else float(np.abs(values).mean())
        scale[of_pair] = size if size > 0 else 1.0
    return moved[:, members] / scale


def _t(values: Float[np.ndarray, "place unit"]) -> Float[np.ndarray, " place"]:
    """Return the t of every place, with its sign."""
    observed = np.ones((1, values.shape[1]), dtype=np.int8)
    return flipped_t(values, observed)[:, 0] * np.sign(values.mean(axis=1))
