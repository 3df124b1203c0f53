"""From judged continuations to the effects of the exchange: a value per unit, in units of the total.

Let y(arm, side) be the judge's log-odds of emotion one against emotion other, averaged over the slots and
seeds of a unit. An effect is positive where the music moves toward the donor's emotion.

| effect | value |
|---|---|
| sufficiency | y(plain, one) - y(exchange, one) |
| necessity | y(exchange, other) - y(plain, other) |
| mediated | mean of the two |
| inside, outside | as mediated, of the exchange along some directions |
| wording, seed | y(plain, one) - y(wording or seed, one): controls, 0 if nothing but the emotion counts |
| on | y(on, one) - y(on, other) |
| off | (y(plain, one) - y(plain, other)) - (y(off, one) - y(off, other)) |
| random, draw d | y(plain, one) - y(random d, one) |
| paired | sufficiency of the rows that play the null directions |

Sufficiency, necessity and wording are means over all rows of a unit. The other effects are those of the
unit's row that plays every arm.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.forks.cells import ONE, OTHER
from moodlens.forks.shares import Total, by_unit
from moodlens.use.discovery import Unit
from moodlens.use.plays import (
    EXCHANGE,
    INSIDE,
    NULL,
    OFF,
    ON,
    OUTSIDE,
    PLAIN,
    PRIMARY,
    SEED,
    WORDING,
    plays,
    primary_plays,
)


@dataclass(frozen=True)
class Effects:
    """The effects of every unit, in units of the total."""

    units: tuple[Unit, ...]
    sufficiency: Float[np.ndarray, " unit"]
    necessity: Float[np.ndarray, " unit"]
    inside: Float[np.ndarray, " unit"]
    outside: Float[np.ndarray, " unit"]
    wording: Float[np.ndarray, " unit"]
    seed: Float[np.ndarray, " unit"]
    on: Float[np.ndarray, " unit"]
    off: Float[np.ndarray, " unit"]
    nulls: Float[np.ndarray, "draw unit"]
    paired: Float[np.ndarray, " unit"]

    @property
    def mediated(self) -> Float[np.ndarray, " unit"]:
        """Return the mean of sufficiency and necessity."""
        return (self.sufficiency + self.necessity) / 2

    @property
    def net(self) -> Float[np.ndarray, " unit"]:
        """Return what the exchange does beyond the mean null direction and another wording of the emotion."""
        return self.mediated - self.nulls.mean(axis=0) - self.wording

    def of(self, members: Int[np.ndarray, " member"]) -> "Effects":
        """Return the effects of some units."""
        arrays = {
            name: getattr(self, name)[..., members] for name in self.__dataclass_fields__ if name != "units"
        }
        return replace(self, units=tuple(self.units[index] for index in members), **arrays)


def effects_of(table: pd.DataFrame, total: Total, value: str = "log_odds") -> Effects:
    """Return the effects of every unit, in order of (pair, unit).

    Args:
        table: `contracts.tables.INTERCHANGE` with the column `value`.
        total: what they are divided by, per pair of emotions.
        value: column that is compared.

    Raises:
        ContractError: a row lacks a play or has it twice, or a value is not finite.
    """
    require_whole(table, value)
    played: Any = table.groupby(["slot_id", "seed"])["arm"].transform("nunique")
    every = pd.DataFrame(table[played > len(PRIMARY)])  # rows that play every arm

    def y(rows: pd.DataFrame, arm: str, side: str) -> Any:
        return by_unit(pd.DataFrame(rows[rows["arm"] == arm]), side, value)

    plain_one = y(table, PLAIN, ONE)
    own_one, own_other = y(every, PLAIN, ONE), y(every, PLAIN, OTHER)
    units = [(str(pair), str(unit)) for pair, unit in plain_one.index]
    scale = np.array([total.per_pair[pair] for pair, _ in units])
    by_draw: Any = every[every["arm"] == NULL].groupby(["draw", "pair", "unit"], sort=True)[value].mean()
    nulls = own_one.to_numpy() - by_draw.to_numpy().reshape(-1, len(units))

    def scaled(effect: Any) -> np.ndarray:
        return effect.to_numpy() / scale

    def both_ways(arm: str) -> np.ndarray:
        return scaled((own_one - y(every, arm, ONE) + y(every, arm, OTHER) - own_other) / 2)

    return Effects(
        units=tuple(units),
        sufficiency=scaled(plain_one - y(table, EXCHANGE, ONE)),
        necessity=scaled(y(table, EXCHANGE, OTHER) - y(table, PLAIN, OTHER)),
        inside=both_ways(INSIDE),
        outside=both_ways(OUTSIDE),
        wording=scaled(plain_one - y(table, WORDING, ONE)),
        seed=scaled(own_one - y(every, SEED, ONE)),
        on=scaled(y(every, ON, ONE) - y(every, ON, OTHER)),
        off=scaled((own_one - own_other) - (y(every, OFF, ONE) - y(every, OFF, OTHER))),
        nulls=nulls / scale,
        paired=scaled(own_one - y(every, EXCHANGE, ONE)),
    )


def require_whole(table: pd.DataFrame, value: str) -> None:
    """Raise an error unless every slot and seed has its plays once, and a row of each unit every play.

    Raises:
        ContractError: names the first slot and seed, or how many values are not finite.
    """
    n_draws = int(table["draw"].to_numpy().max()) + 1 if len(table) else 0
    if n_draws < 1:
        advice = "Draw 39 for a weak verdict, 199 for a strong one"
        raise ContractError(must("interchange", "have null directions", n_draws, next_step=advice))
    whole = sorted((play.arm, play.side, play.draw) for play in plays(n_draws))
    fewest = sorted((play.arm, play.side, play.draw) for play in primary_plays())
    by_row: Any = table.groupby(["slot_id", "seed"])
    complete = set()
    for (slot, seed), rows in by_row:
        found = sorted(rows[["arm", "side", "draw"]].itertuples(index=False, name=None))
        if found == whole:
            complete |= set(rows[["pair", "unit"]].itertuples(index=False, name=None))
        elif found != fewest:
            rule, got = f"have each of its {len(whole)} or {len(fewest)} plays once", f"{len(rows)} rows"
            where = f"{slot}, seed {seed}"
            raise ContractError(must("interchange", rule, got, where=where, next_step="Run the stage again"))
    missing = set(table[["pair", "unit"]].itertuples(index=False, name=None)) - complete
    if missing:
        advice = "Run the stage again"
        raise ContractError(must("a unit", "have a row with every play", min(missing), next_step=advice))
    n_bad = int((~np.isfinite(table[value].to_numpy(dtype=np.float64))).sum())
    if n_bad:
        advice = "Look at these continuations: silence has no spectrum"
        raise ContractError(must(f"column {value}", "be finite", f"{n_bad} values not", next_step=advice))
