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
| null, draw d | y(plain, one) - y(null d, one) |
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
from moodlens.use.plays import EXCHANGE, INSIDE, NULL, OFF, ON, OUTSIDE, PLAIN, SEED, WORDING, plays


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
    arms = {str(arm): pd.DataFrame(cells) for arm, cells in table.groupby("arm")}

    def y(arm: str, side: str) -> Any:
        return by_unit(arms[arm], side, value)

    plain_one, plain_other = y(PLAIN, ONE), y(PLAIN, OTHER)
    units = [(str(pair), str(unit)) for pair, unit in plain_one.index]
    scale = np.array([total.per_pair[pair] for pair, _ in units])
    by_draw: Any = arms[NULL].groupby(["draw", "pair", "unit"], sort=True)[value].mean()
    nulls = plain_one.to_numpy() - by_draw.to_numpy().reshape(-1, len(units))

    def scaled(effect: Any) -> np.ndarray:
        return effect.to_numpy() / scale

    def both_ways(arm: str) -> np.ndarray:
        return scaled((plain_one - y(arm, ONE) + y(arm, OTHER) - plain_other) / 2)

    return Effects(
        units=tuple(units),
        sufficiency=scaled(plain_one - y(EXCHANGE, ONE)),
        necessity=scaled(y(EXCHANGE, OTHER) - plain_other),
        inside=both_ways(INSIDE),
        outside=both_ways(OUTSIDE),
        wording=scaled(plain_one - y(WORDING, ONE)),
        seed=scaled(plain_one - y(SEED, ONE)),
        on=scaled(y(ON, ONE) - y(ON, OTHER)),
        off=scaled((plain_one - plain_other) - (y(OFF, ONE) - y(OFF, OTHER))),
        nulls=nulls / scale,
    )


def require_whole(table: pd.DataFrame, value: str) -> None:
    """Raise an error unless every slot and seed has every play once, with finite values.

    Raises:
        ContractError: names the first slot and seed, or how many values are not finite.
    """
    n_draws = int(table["draw"].to_numpy().max()) + 1 if len(table) else 0
    if n_draws < 1:
        advice = "Draw 39 for a weak verdict, 199 for a strong one"
        raise ContractError(must("interchange", "have null directions", n_draws, next_step=advice))
    expected = sorted((play.arm, play.side, play.draw) for play in plays(n_draws))
    by_row: Any = table.groupby(["slot_id", "seed"])
    for (slot, seed), rows in by_row:
        if sorted(rows[["arm", "side", "draw"]].itertuples(index=False, name=None)) != expected:
            rule, got = f"have each of its {len(expected)} plays once", f"{len(rows)} rows"
            where = f"{slot}, seed {seed}"
            raise ContractError(must("interchange", rule, got, where=where, next_step="Run the stage again"))
    n_bad = int((~np.isfinite(table[value].to_numpy(dtype=np.float64))).sum())
    if n_bad:
        advice = "Look at these continuations: silence has no spectrum"
        raise ContractError(must(f"column {value}", "be finite", f"{n_bad} values not", next_step=advice))
