"""The chapters of the report: which analysis each shows, and from which files its finding is made.

A stage that adds a chapter gives it a row of `CHAPTERS`; the page, its navigation and its notes on what did
not run follow from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.contracts.params import Params
from moodlens.contracts.tables import ACOUSTICS, CLIPS, Table
from moodlens.report.probing import probes_finding
from moodlens.report.records import Chapter, Finding
from moodlens.report.sound import acoustics_finding
from moodlens.report.sweep import layers_finding
from moodlens.store.tables import read_metrics, read_table


@dataclass(frozen=True)
class Source:
    """One chapter before its figures are read."""

    key: str
    title: str
    build: Callable[[Path, Params], Finding | None]  # None where a file it needs does not exist
    about: str
    stage: str
    file: str


def chapters_of(root: Path, params: Params) -> tuple[Chapter, ...]:
    """Return every chapter of the page in order, empty where its stage did not run.

    Raises:
        ContractError: a file exists and cannot be read as what it is.
    """
    return tuple(
        Chapter(
            source.key,
            source.title,
            source.build(root, params),
            source.about,
            f"dvc repro {source.stage}",
            source.file,
        )
        for source in CHAPTERS
    )


def stored_table(root: Path, table: Table, name: str) -> pd.DataFrame | None:
    """Return data/<name>, None where it does not exist."""
    path = root / "data" / name
    return read_table(table, path) if path.is_file() else None


def stored_metrics(root: Path, stage: str) -> dict[str, Any] | None:
    """Return metrics/<stage>.json, None where it does not exist."""
    path = root / "metrics" / f"{stage}.json"
    return read_metrics(path) if path.is_file() else None


def stored_rows(root: Path, name: str) -> list[dict[str, Any]] | None:
    """Return the rows of metrics/<name>.csv, None where it does not exist."""
    path = root / "metrics" / f"{name}.csv"
    if not path.is_file():
        return None
    rows: Any = pd.read_csv(path).to_dict("records")
    return rows


def _layers(root: Path, params: Params) -> Finding | None:
    signal, rows = stored_metrics(root, "signal"), stored_rows(root, "signal_layers")
    if signal is None or rows is None:
        return None
    decided = stored_metrics(root, "decide")
    finding = decided["layers"] if decided else None
    alpha, metrics = params.decide.alpha_weak, stored_rows(root, "signal_metrics") or ()
    return layers_finding(signal, rows, finding, alpha, params.signal.confidence, metrics)


def _probes(root: Path, params: Params) -> Finding | None:
    probe, rows = stored_metrics(root, "probe"), stored_rows(root, "probe_layers")
    if probe is None or rows is None:
        return None
    directions = stored_rows(root, "probe_directions") or ()
    return probes_finding(probe, rows, params.probe.n_folds, params.probe.confidence, directions)


def _sound(root: Path, _params: Params) -> Finding | None:
    acoustics = stored_table(root, ACOUSTICS, "acoustics.parquet")
    clips = stored_table(root, CLIPS, "clips.parquet")
    return None if acoustics is None or clips is None else acoustics_finding(acoustics, clips)


CHAPTERS = (
    Source("layers", "Where", _layers, "The sweep over layers", "signal", "metrics/signal.json"),
    Source("probes", "Probes", _probes, "Probe accuracy beside its baselines", "probe", "metrics/probe.json"),
    Source(
        "acoustics",
        "Sound",
        _sound,
        "What was measured in the audio",
        "acoustics",
        "data/acoustics.parquet",
    ),
)
