"""The records of a fork experiment: metrics for DVC and the report, tables for plots."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from moodlens.forks.analysis import Analysis
from moodlens.forks.shares import Share

MAIN, RUN = "main", "run"
"""Names of the two experiments: at forks.guidance_scale, and at generate.guidance_scale."""


def metrics_of(analyses: Sequence[Analysis], frame_rate_hz: float) -> dict[str, Any]:
    """Return the content of metrics/forks.json: the main experiment, and that at the run's guidance."""
    return {
        name: _experiment(analysis, frame_rate_hz)
        for name, analysis in zip((MAIN, RUN), analyses, strict=False)
    }


def _experiment(analysis: Analysis, frame_rate_hz: float) -> dict[str, Any]:
    total = analysis.total
    return {
        "guidance_scale": analysis.guidance_scale,
        "n_units": analysis.n_units,
        "n_continuations": analysis.n_continuations,
        "total": {
            "log_odds": dict(total.per_pair),
            "is_the_judges_gap": total.of_judge,
            "share_of_gap": total.share_of_gap,
            "p": total.p,
        },
        "sources": {
            source.name: {
                "verdict": source.verdict,
                "step_s": source.step / frame_rate_hz,
                "rule": source.rule,
                **asdict(source.share),
                "mean_share": source.mean.share,
                "mean_narrow_low": source.mean.narrow_low,
                "mean_narrow_high": source.mean.narrow_high,
            }
            for source in analysis.sources
        },
        "where": None
        if analysis.where is None
        else {
            "found": list(analysis.where.found),
            "confirmed_p": analysis.where.confirmed_p,
            "best": max(
                zip(analysis.where.names, analysis.where.shares, strict=True), key=lambda pair: pair[1].share
            )[0],
        },
    }


def shares_table(analyses: Sequence[Analysis], frame_rate_hz: float) -> pd.DataFrame:
    """Return a row per guidance scale, source and fork step: the share of the total with its interval."""
    rows = []
    for analysis in analyses:
        for series in analysis.series:
            for step, share, nats in zip(series.steps, series.shares, series.nats, strict=True):
                about = {
                    "guidance_scale": analysis.guidance_scale,
                    "source": series.source,
                    "step_s": step / frame_rate_hz,
                }
                rows.append({**about, **_plotted(share), "nats_per_token": nats})
    return pd.DataFrame(rows)


def places_table(analyses: Sequence[Analysis]) -> pd.DataFrame:
    """Return a row per layer and window of the cache that was exchanged alone."""
    rows: list[Mapping[str, Any]] = []
    for analysis in analyses:
        if analysis.where is not None:
            for name, share in zip(analysis.where.names, analysis.where.shares, strict=True):
                kind = "layer" if name.startswith("layer") else "steps"
                rows.append({"kind": kind, "place": name, **_plotted(share)})
    return pd.DataFrame(rows, columns=["kind", "place", *PLOTTED])


PLOTTED = ("share", "low", "high", "narrow_low", "narrow_high", "donor", "p", "n_units")


def _plotted(share: Share) -> dict[str, Any]:
    return {name: getattr(share, name) for name in PLOTTED}
