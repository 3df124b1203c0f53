"""The whole analysis of one interchange experiment: total, effects, halves, verdict, acoustic factors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for
from moodlens.forks.analysis import FACTORS
from moodlens.forks.cells import ONE, OTHER
from moodlens.forks.shares import Total, by_unit, t_interval, total_of_clips
from moodlens.use.discovery import N_HALVES, Found
from moodlens.use.effects import Effects, effects_of, require_whole
from moodlens.use.evidence import Arm, Plan, arm_of, arms_of, evidence_of, flip_p, rank_p
from moodlens.use.places import Place, place_at
from moodlens.use.plays import PLAIN
from moodlens.use.verdict import Use, judge_use

OF_FACTORS = ("pair", "factor", "whole", "mediated", "low", "high")
"""Columns of the table of acoustic factors."""


@dataclass(frozen=True)
class Half:
    """The result on the units of one half, at the place that the other half chose."""

    place: Place
    n_units: int
    mediated: Arm
    net_p: float  # sign flips of (mediated - mean null - wording) over these units alone
    rank_p: float


@dataclass(frozen=True)
class Analysis:
    """The result of the frozen test."""

    total: Total
    use: Use
    halves: tuple[Half, ...]
    arms: tuple[Arm, ...]  # see `evidence.arms_of`
    nats: Mapping[str, float]  # arm of `plays` -> mean nats per token of its continuations; NaN: not measured
    null_shares: Float[np.ndarray, "half draw"]  # mean effect of every null direction
    factors: pd.DataFrame  # pair, factor, whole, mediated, low, high: in the factor's unit
    n_units: int
    n_continuations: int


def analyse(table: pd.DataFrame, found: Found, gaps: Mapping[str, float], plan: Plan) -> Analysis:
    """Return the analysis of the continuations of wave 2.

    Args:
        table: `contracts.tables.INTERCHANGE` from `forks.analysis.with_log_odds`.
        found: by wave 1.
        gaps: pair -> the judge's own gap in log-odds.
        plan: how it is done.

    Raises:
        ContractError: plays are missing, or a unit was tested at a place that its own half chose.
    """
    require_whole(table, "log_odds")
    _require_frozen(table, found)
    rng = rng_for("interchange analysis", plan.seed)
    plain = pd.DataFrame(table[table["arm"] == PLAIN])
    total = total_of_clips(plain, gaps, plan.bars.alpha_weak, plan.n_flips, rng)
    effects = effects_of(table, total)
    half_of = np.array([found.half_of[unit] for unit in effects.units])
    arms = arms_of(effects, plan, rng)
    one_place = found.chosen[0] == found.chosen[1]
    evidence = evidence_of(effects, arms, half_of, plan, rng, one_place=one_place)
    parts = [effects.of(np.flatnonzero(half_of == half)) for half in range(N_HALVES)]
    by_arm: Any = table.groupby("arm")["nats_per_token"]
    return Analysis(
        total=total,
        use=judge_use(evidence, plan.bars, of_judge=total.of_judge),
        halves=tuple(_half(part, found, plan, rng) for part in parts),
        arms=tuple(arms.values()),
        nats={str(arm): float(value) for arm, value in by_arm.mean().items()},
        null_shares=np.stack([part.nulls.mean(axis=1) for part in parts]),
        factors=_factors(table, plan.confidence),
        n_units=len(effects.units),
        n_continuations=len(table),
    )


def _half(part: Effects, found: Found, plan: Plan, rng: np.random.Generator) -> Half:
    return Half(
        place=found.tested_at(part.units[0]),
        n_units=len(part.units),
        mediated=arm_of("mediated", part.mediated, plan, rng),
        net_p=flip_p(part.net, plan, rng),
        rank_p=rank_p(part),
    )


def _require_frozen(table: pd.DataFrame, found: Found) -> None:
    """Raise an error unless every unit was tested at the place that the half without it chose."""
    columns = ["pair", "unit", "hookpoint", "first", "stop"]
    tested_at: Any = table[columns].drop_duplicates()
    for pair, unit, *at in tested_at.itertuples(index=False):
        name = f"{pair}, {unit}"
        if (pair, unit) not in found.half_of:
            advice = "Run both waves on the same prompts"
            raise ContractError(must("a tested unit", "have been dealt to a half", name, next_step=advice))
        wanted, tested = found.tested_at((pair, unit)), place_at(*at)
        if tested != wanted:
            rule = f"be {wanted.name}, which the half without it chose"
            advice = "Run the second wave again"
            raise ContractError(must("place of a unit", rule, tested.name, where=name, next_step=advice))


def _factors(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return the mediated effect on every acoustic factor with its interval, and the prompted difference."""
    pairs = sorted({str(pair) for pair in table["pair"]})
    unscaled = Total(dict.fromkeys(pairs, 1.0), of_judge=False, share_of_gap=1.0, p=0.0)
    plain = pd.DataFrame(table[table["arm"] == PLAIN])
    rows = []
    for factor, column in FACTORS.items():
        effects = effects_of(table, unscaled, column)
        for pair in pairs:
            values = effects.mediated[[unit[0] == pair for unit in effects.units]]
            low, high = t_interval(values, confidence) if len(values) > 1 else (np.nan, np.nan)
            of_pair = pd.DataFrame(plain[plain["pair"] == pair])
            whole = (by_unit(of_pair, ONE, column) - by_unit(of_pair, OTHER, column)).mean()
            rows.append((pair, factor, float(whole), float(values.mean()), low, high))
    return pd.DataFrame(rows, columns=list(OF_FACTORS))
