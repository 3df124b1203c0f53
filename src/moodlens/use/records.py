"""The records of an interchange experiment: metrics for DVC and the report, tables for plots."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from moodlens.use.analysis import Analysis, Half
from moodlens.use.discovery import Candidate, Found
from moodlens.use.evidence import Arm
from moodlens.use.plays import EXCHANGE, INSIDE, NULL, OFF, ON, OUTSIDE, SEED, WORDING

PLACES = (
    "place", "hookpoint", "first_s", "stop_s", "share", "low", "high", "p", "t_half_0", "t_half_1",
    "chosen_by",
)  # fmt: skip
ARMS = ("arm", "share", "low", "high", "narrow_low", "narrow_high", "p", "nats_per_token")
PLAYED = {
    "mediated": EXCHANGE, "sufficiency": EXCHANGE, "necessity": EXCHANGE, "inside": INSIDE,
    "outside": OUTSIDE, "on": ON, "off": OFF, "wording": WORDING, "seed": SEED, "random": NULL,
}  # fmt: skip
"""Effect -> the arm whose continuations give its nats per token."""


def metrics_of(found: Found, analysis: Analysis, frame_rate_hz: float) -> dict[str, Any]:
    """Return the content of metrics/interchange.json: the verdict, the halves, the arms and the companion."""
    use, total = analysis.use, analysis.total
    evidence = use.evidence
    return {
        "n_units": analysis.n_units,
        "n_continuations": analysis.n_continuations,
        "total": {
            "log_odds": dict(total.per_pair),
            "is_the_judges_gap": total.of_judge,
            "share_of_gap": total.share_of_gap,
            "p": total.p,
        },
        "use": {
            "verdict": use.verdict,
            "rule": use.rule,
            **_numbers(evidence.mediated),
            "p": evidence.p,
            "net_p": evidence.net_p,
            "rank_p": evidence.rank_p,
            "n_draws": evidence.n_draws,
            "smallest_p": evidence.smallest_p,
            "smallest_rank_p": evidence.smallest_rank_p,
        },
        "halves": [_half(half, frame_rate_hz) for half in analysis.halves],
        "arms": {arm.name: _numbers(arm) for arm in analysis.arms},
        "nats_per_token": {arm: _or_none(value) for arm, value in analysis.nats.items()},
        "null_shares": analysis.null_shares.tolist(),
        "companion": {
            "n_places": len(found.candidates),
            "whole_nats_per_token": dict(found.whole),
            "whole_p": found.whole_p,
            "chosen": [
                {
                    "place": place.name,
                    "t": _candidate(found, place.name).t[half],
                    "p": _candidate(found, place.name).half_p[half],
                    "share": _candidate(found, place.name).share,
                }
                for half, place in enumerate(found.chosen)
            ],
        },
    }


def places_table(found: Found, frame_rate_hz: float) -> pd.DataFrame:
    """Return a row per place of wave 1: its teacher-forced share, and the halves that chose it."""
    rows = []
    for one in found.candidates:
        chosen_by = [str(half) for half, place in enumerate(found.chosen) if place == one.place]
        first, stop = _seconds(one.place.steps, frame_rate_hz)
        rows.append(
            (
                one.place.name, one.place.hookpoint, first, stop, one.share, one.low, one.high, one.p, *one.t,
                " and ".join(chosen_by),
            )
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(PLACES))


def arms_table(analysis: Analysis) -> pd.DataFrame:
    """Return a row per effect: its share of the total, and the nats per token of its continuations."""
    rows = [
        {"arm": arm.name, **_numbers(arm), "nats_per_token": analysis.nats[PLAYED[arm.name]]}
        for arm in analysis.arms
    ]
    return pd.DataFrame(rows, columns=list(ARMS))


def _numbers(arm: Arm) -> dict[str, float]:
    return {name: value for name, value in asdict(arm).items() if name != "name"}


def _half(half: Half, frame_rate_hz: float) -> Mapping[str, Any]:
    first, stop = _seconds(half.place.steps, frame_rate_hz)
    return {
        "place": half.place.name,
        "hookpoint": half.place.hookpoint,
        "first_s": _or_none(first),
        "stop_s": _or_none(stop),
        "n_units": half.n_units,
        **_numbers(half.mediated),
        "p": half.net_p,
        "rank_p": half.rank_p,
    }


def _candidate(found: Found, name: str) -> Candidate:
    return next(one for one in found.candidates if one.place.name == name)


def _seconds(steps: tuple[int, int] | None, frame_rate_hz: float) -> tuple[float, float]:
    """Return the window of a place in seconds; NaN: all steps."""
    return (steps[0] / frame_rate_hz, steps[1] / frame_rate_hz) if steps else (np.nan, np.nan)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
