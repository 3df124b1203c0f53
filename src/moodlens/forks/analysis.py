"""The whole analysis of one fork experiment: totals, shares over time, verdicts, where the memory lies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moodlens.audio.descriptors import Descriptors
from moodlens.audio.judge import Judge
from moodlens.base.seeding import rng_for
from moodlens.forks.cells import ALL, MEMORY_NEUTRAL, SOURCES
from moodlens.forks.shares import (
    Contrasts,
    Series,
    Total,
    contrasts_of,
    mean_of,
    shares_of,
    t_interval,
    total_of,
)
from moodlens.forks.verdicts import Bars, Source, Where, judge_source, where

FACTORS = {
    "loudness, dB": "loudness_db",
    "brightness, octaves": "brightness_octaves",
    "onsets per s": "onset_rate_hz",
    "mode margin": "mode_margin",
}
"""Acoustic factors whose contrasts are tabulated, and their columns."""


@dataclass(frozen=True)
class Plan:
    """How the analysis is done."""

    bars: Bars
    confidence: float
    n_flips: int
    seed: int


@dataclass(frozen=True)
class Analysis:
    """The result at one guidance scale."""

    guidance_scale: float
    total: Total
    series: tuple[Series, ...]  # of SOURCES and MEMORY_NEUTRAL: shares over the fork steps
    sources: tuple[Source, ...]  # verdicts, in the order of SOURCES
    where: Where | None
    factors: pd.DataFrame  # source, step, factor, contrast, low, high: one minus other, in the factor's unit
    n_units: int
    n_continuations: int


def with_log_odds(table: pd.DataFrame, judges: Mapping[str, Judge]) -> pd.DataFrame:
    """Return the table of continuations with the columns log_odds and brightness_octaves.

    Args:
        table: `contracts.tables.FORKS`.
        judges: unit -> its judge.
    """
    odds = np.empty(len(table))
    names = list(Descriptors.__dataclass_fields__)
    sounds = [Descriptors(*row) for row in table[names].itertuples(index=False)]
    units, pairs = table["unit"].to_numpy(dtype=object), table["pair"].to_numpy(dtype=object)
    for unit, pair in sorted(set(zip(units, pairs, strict=True))):
        rows = np.flatnonzero((units == unit) & (pairs == pair))
        odds[rows] = judges[unit].log_odds([sounds[i] for i in rows], *pair.split(" - "))
    octaves = np.log2(np.maximum(table["centroid_hz"], 1.0))
    return table.assign(log_odds=odds, brightness_octaves=octaves)


def analyse(table: pd.DataFrame, gaps: Mapping[str, float], plan: Plan) -> Analysis:
    """Return the analysis of the continuations of one guidance scale.

    Args:
        table: from `with_log_odds`.
        gaps: pair -> the judge's own gap in log-odds.
        plan: how it is done.
    """
    rng = rng_for("forks analysis", plan.seed)
    bars = plan.bars
    total = total_of(table, gaps, bars.alpha_weak, plan.n_flips, rng)
    whole = pd.DataFrame(table[table["place"] == ""])
    forked = whole[[source in SOURCES for source in whole["source"]]]
    steps = tuple(sorted({int(step) for step in forked["step"]}))
    series, sources = [], []
    for source in (*SOURCES, MEMORY_NEUTRAL):
        at = [(step, cells) for step in steps if len(cells := _cells(whole, source, step))]
        if not at:
            continue
        family = [contrasts_of(cells, total) for _, cells in at]
        found = shares_of([*family, mean_of(family)], plan.confidence, bars.alpha_weak, plan.n_flips, rng)
        nats = tuple(float(cells["nats_per_token"].to_numpy(dtype=np.float64).mean()) for _, cells in at)
        series.append(Series(source, tuple(step for step, _ in at), tuple(found[:-1]), found[-1], nats))
        if source in SOURCES:
            sources.append(judge_source(series[-1], total, bars))
    return Analysis(
        guidance_scale=float(table["guidance_scale"].to_numpy()[0]),
        total=total,
        series=tuple(series),
        sources=tuple(sources),
        where=_where(table, total, plan, rng),
        factors=_factors(whole, steps, plan.confidence),
        n_units=len(table[["pair", "unit"]].drop_duplicates()),
        n_continuations=len(table),
    )


def _cells(table: pd.DataFrame, source: str, step: int) -> pd.DataFrame:
    return pd.DataFrame(table[(table["source"] == source) & (table["step"] == step)])


def _where(table: pd.DataFrame, total: Total, plan: Plan, rng: np.random.Generator) -> Where | None:
    parts = pd.DataFrame(table[table["place"] != ""])
    if parts.empty:
        return None
    family: dict[str, Contrasts] = {
        str(place): contrasts_of(cells, total) for place, cells in parts.groupby("place", sort=False)
    }
    return where(family, plan.bars, plan.confidence, plan.n_flips, rng)


def _factors(whole: pd.DataFrame, steps: tuple[int, ...], confidence: float) -> pd.DataFrame:
    """Return the contrast of every acoustic factor with its interval, averaged over the pairs of emotions."""
    unscaled = Total(dict.fromkeys(set(whole["pair"]), 1.0), of_judge=False, share_of_gap=1.0, p=0.0)
    rows = []
    for source in (ALL, *SOURCES):
        for step in (0,) if source == ALL else steps:
            cells = _cells(whole, source, step)
            for factor, column in FACTORS.items():
                for pair in sorted(unscaled.per_pair):
                    of_pair = pd.DataFrame(cells[cells["pair"] == pair])
                    values = contrasts_of(of_pair, unscaled, column).values
                    low, high = t_interval(values, confidence)
                    rows.append((source, step, pair, factor, float(values.mean()), low, high))
    columns = ["source", "step", "pair", "factor", "contrast", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
