"""Rows, scores and continuations whose mediated share is known."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from moodlens.contracts.tables import SCORES
from moodlens.forks.cells import DONOR, ONE, OTHER, Row
from moodlens.forks.slots import Slot
from moodlens.use.discovery import Found, deal
from moodlens.use.effects import Effects
from moodlens.use.evidence import Bars, Plan
from moodlens.use.places import Place
from moodlens.use.plays import EXCHANGE, NULL, OFF, ON, SEED, WORDING, about, plays, primary_plays

PAIRS = ("happy - sad", "energetic - calm")
GAPS = {"happy - sad": 10.0, "energetic - calm": 20.0}
BARS = Bars(alpha_strong=0.001, alpha_weak=0.05, share_strong=0.25, share_weak=0.10, margin=0.10)
PLAN = Plan(BARS, confidence=0.95, n_flips=4999, seed=0)
CHOSEN = Place("residual.2"), Place("residual.1", (0, 10))
SLOT = Slot("s/00", ("happy", "sad"), ("happy", "sad"), "happy tune", "sad tune", "merry tune", "tune")
ROW = Row(SLOT, 0, 77)


def rows_of(n_units: int, n_seeds: int = 1) -> list[Row]:
    """Rows of `n_units` pairs of wordings per pair of emotions, one slot each."""
    out = []
    for pair in PAIRS:
        one, other = pair.split(" - ")
        for unit in range(n_units):
            wordings = f"{one} {unit}", f"{other} {unit}"
            slot = Slot(f"{pair}/{unit}", (one, other), wordings, *wordings, f"{one} x", "n")
            out += [Row(slot, seed, 100 * unit + seed) for seed in range(n_seeds)]
    return out


def found_of(rows: Sequence[Row], seed: int = 0) -> Found:
    """Halves of the rows' units that chose the two places of CHOSEN."""
    half_of = deal([(" - ".join(row.slot.pair), row.slot.unit) for row in rows], seed)
    return Found(half_of, CHOSEN, (), dict.fromkeys(PAIRS, 0.1), 0.001)


def continuations(
    shares: Mapping[str, float],
    *,
    total: float = 1.0,
    noise: float = 0.5,
    n_units: int = 9,
    n_seeds: int = 2,
    n_draws: int = 39,
    null: float = 0.0,
    seed: int = 0,
) -> tuple[pd.DataFrame, Found]:
    """Judged continuations, and the wave 1 that they rest on.

    Args:
        shares: arm -> share of the total by which the music moves toward the donor; `necessity`, if given, is
            that of the exchange in side other.
        total: of the judge's own gap.
        noise: standard deviation of a clip's log-odds.
        null: standard deviation of the share of null directions, the same for all units of a half.
    """
    rng = np.random.default_rng(seed)
    rows = rows_of(n_units, n_seeds)
    found = found_of(rows)
    directions = null * rng.standard_normal((2, n_draws))
    out = []
    for row in rows:
        pair = " - ".join(row.slot.pair)
        wanted = plays(n_draws) if row.seed == 0 else primary_plays()
        half, gap = found.half_of[pair, row.slot.unit], GAPS[pair] * total
        for play in wanted:
            share = shares.get(play.arm, 0.0)
            if play.arm == EXCHANGE and play.side == OTHER:
                share = shares.get("necessity", share)
            if play.arm == NULL:
                share = directions[half, play.draw]
            side = 0.5 if play.side in (ONE, DONOR) else -0.5
            at = side * (1 - 2 * share)
            if play.arm == ON:
                at = side * share
            elif play.arm == OFF:
                at = side * (1 - share)
            elif play.arm in (WORDING, SEED):
                at = side - share
            odds = gap * at + noise * rng.standard_normal()
            place = found.tested_at((pair, row.slot.unit))
            out.append({**about(row, place, play), "nats_per_token": 2.0, "log_odds": odds})
    table = pd.DataFrame(out)
    for column in ("loudness_db", "brightness_octaves", "onset_rate_hz", "mode_margin"):
        table[column] = table["log_odds"]
    return table, found


def noisy_effects(
    rng: np.random.Generator,
    *,
    n_units: int = 14,
    n_draws: int = 39,
    spread: float = 0.3,
    direction: float = 0.0,
    mediated: float = 0.0,
    shared: bool = False,
) -> tuple[Effects, np.ndarray]:
    """Effects of units that differ by `spread`, and the units' halves.

    The exchange and every null direction move all units by a share of their own, of standard deviation
    `direction`. That of the exchange is the same in both halves; those of the directions are if `shared`.
    """
    half_of = np.arange(n_units) % 2
    arrays = {
        name: spread * rng.standard_normal(n_units)
        for name in ("sufficiency", "necessity", "inside", "outside", "wording", "seed", "on", "off")
    }
    own = mediated + direction * rng.standard_normal()
    arrays["sufficiency"] += own
    arrays["necessity"] += own
    arrays["paired"] = arrays["sufficiency"]
    shifts = direction * rng.standard_normal((n_draws, 2))
    if shared:
        shifts[:, 1] = shifts[:, 0]
    nulls = spread * rng.standard_normal((n_draws, n_units)) + shifts[:, half_of]
    units = tuple((PAIRS[0], str(unit)) for unit in range(n_units))
    return Effects(units=units, **arrays, nulls=nulls), half_of


PLACES = tuple(Place(f"residual.{layer}") for layer in range(4))


def scores_of(
    shares: Sequence[float],
    *,
    noise: float = 0.02,
    whole: float = 0.2,
    n_units: int = 9,
    n_seeds: int = 2,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores at PLACES, each with its share of a known whole; energetic - calm has ten times the whole."""
    rng = np.random.default_rng(seed)
    out = []
    for row in rows_of(n_units, n_seeds):
        pair = " - ".join(row.slot.pair)
        size = whole * (10 if pair == PAIRS[1] else 1)
        of_row = {f"whole_{side}": size * (1 + noise * rng.standard_normal()) for side in (ONE, OTHER)}
        for place, share in zip(PLACES, shares, strict=True):
            moved = {
                f"moved_{side}": abs(size) * (share + noise * rng.standard_normal()) for side in (ONE, OTHER)
            }
            out.append(
                {
                    "row_id": f"{row.slot.slot_id}/{row.seed}/{place.name}",
                    "slot_id": row.slot.slot_id,
                    "pair": pair,
                    "unit": row.slot.unit,
                    "seed": row.seed,
                    **place.columns,
                    **moved,
                    **of_row,
                }
            )
    return pd.DataFrame(out, columns=SCORES.names)
