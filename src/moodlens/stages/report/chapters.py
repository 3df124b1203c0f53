"""The chapters of the report: which analysis each shows, and from which files its finding is made.

A stage that adds a chapter gives it a row of `CHAPTERS`; the page, its navigation and its notes on what did
not run follow from there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.contracts.tables import ACOUSTICS, CLIPS, Table
from moodlens.params.pipeline import Params
from moodlens.prompts.lexicon import AFFECT
from moodlens.report.acoustics import acoustics_finding
from moodlens.report.attention import attention_finding
from moodlens.report.calibration import calibration_finding
from moodlens.report.decide import gates_finding
from moodlens.report.geometry import layout_finding
from moodlens.report.latents import latents_finding
from moodlens.report.null_text import state_finding
from moodlens.report.probe import probes_finding
from moodlens.report.records import Chapter, Finding
from moodlens.report.relate import relate_finding
from moodlens.report.sae import sae_finding, targets_grid
from moodlens.report.signal import layers_finding
from moodlens.report.temporal import timing_finding
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
    command: str = ""  # what makes it, where that is not `dvc repro <stage>`


def chapters_of(root: Path, params: Params) -> tuple[Chapter, ...]:
    """Return every chapter of the page in order, empty where its stage did not run or made nothing to show.

    Raises:
        ContractError: a file exists and cannot be read as what it is.
    """
    return tuple(
        Chapter(
            source.key,
            source.title,
            source.build(root, params),
            source.about,
            source.command or f"dvc repro {source.stage}",
            source.file,
            _reason(root / source.file),
        )
        for source in CHAPTERS
    )


def _reason(path: Path) -> str:
    """Return why a stage ended well without a result, the `not_run` of its metrics; "" where it has none."""
    return str(read_metrics(path).get("not_run", "")) if path.suffix == ".json" and path.is_file() else ""


def stored_table(root: Path, table: Table, name: str) -> pd.DataFrame | None:
    """Return data/<name>, None where it does not exist."""
    path = root / "data" / name
    return read_table(table, path) if path.is_file() else None


def stored_metrics(root: Path, stage: str) -> dict[str, Any] | None:
    """Return metrics/<stage>.json, None where it does not exist."""
    path = root / "metrics" / f"{stage}.json"
    return read_metrics(path) if path.is_file() else None


def stored_rows(root: Path, name: str, folder: str = "metrics") -> list[dict[str, Any]] | None:
    """Return the rows of <folder>/<name>.csv, None where it does not exist."""
    path = root / folder / f"{name}.csv"
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


def _state(root: Path, params: Params) -> Finding | None:
    found = stored_metrics(root, "null_text")
    steps, curve = stored_rows(root, "null_text_steps"), stored_rows(root, "null_text_curve")
    if found is None or steps is None or curve is None:
        return None
    decided = stored_metrics(root, "decide") or {}
    return state_finding(found, steps, curve, params.null_text.confidence, decided.get("factors", {}))


def _attention(root: Path, params: Params) -> Finding | None:
    attention = stored_metrics(root, "attention")
    heads, curves = stored_rows(root, "attention_heads"), stored_rows(root, "attention_time")
    if not attention or not attention["captured"] or not heads or not curves:
        return None
    return attention_finding(attention, heads, curves, params.decide.alpha_weak, params.attention.confidence)


def _relate(root: Path, params: Params) -> Finding | None:
    relate = stored_metrics(root, "relate")
    layers, descriptors = stored_rows(root, "relate_layers"), stored_rows(root, "relate_descriptors")
    if relate is None or layers is None or descriptors is None:
        return None
    return relate_finding(relate, layers, descriptors, params.decide.alpha_weak, params.relate.confidence)


def _sound(root: Path, _params: Params) -> Finding | None:
    acoustics = stored_table(root, ACOUSTICS, "acoustics.parquet")
    clips = stored_table(root, CLIPS, "clips.parquet")
    return None if acoustics is None or clips is None else acoustics_finding(acoustics, clips)


def _gates(root: Path, _params: Params) -> Finding | None:
    decided = stored_metrics(root, "decide")
    return None if decided is None else gates_finding(decided, stored_rows(root, "decide_power") or [])


def _sae(root: Path, _params: Params) -> Finding | None:
    trained, rows = stored_metrics(root, "sae"), stored_rows(root, "sae_curves")
    return None if trained is None or rows is None else sae_finding(trained, rows)


def _latents(root: Path, params: Params) -> Finding | None:
    found = stored_metrics(root, "latents")
    counts, top = stored_rows(root, "latents_counts"), stored_rows(root, "latents_top")
    if found is None or counts is None or top is None:
        return None
    finding = latents_finding(found, counts, top, params.latents.fdr)
    trained = stored_metrics(root, "sae")
    if finding is None or trained is None:
        return finding
    asked = targets_grid(trained, found, params.sae, params.latents, params.report)
    return finding if asked is None else replace(finding, grids=(asked, *finding.grids))


def _time(root: Path, params: Params) -> Finding | None:
    metrics = stored_metrics(root, "temporal")
    clips = stored_table(root, CLIPS, "clips.parquet")
    acoustics = stored_table(root, ACOUSTICS, "acoustics.parquet")
    curves = [stored_rows(root, f"temporal_{name}") for name in ("steps", "layers", "readings", "spectra")]
    if metrics is None or clips is None or acoustics is None or any(rows is None for rows in curves):
        return None
    if "not_run" in metrics:
        return None
    steps, layers, readings, spectra = (rows or [] for rows in curves)
    measured: Any = clips.merge(acoustics, on="clip_id").groupby("emotion")["tempo_bpm"].median().to_dict()
    tempo_hz = {str(emotion): float(bpm) / 60 for emotion, bpm in measured.items()}
    alpha, confidence = params.decide.alpha_weak, params.temporal.confidence
    return timing_finding(metrics, steps, layers, readings, spectra, tempo_hz, alpha, confidence)


def _geometry(root: Path, params: Params) -> Finding | None:
    metrics, rows = stored_metrics(root, "geometry"), stored_rows(root, "geometry_layers")
    points = stored_rows(root, "geometry_points")
    if metrics is None or rows is None or points is None:
        return None
    alpha, confidence = params.decide.alpha_weak, params.geometry.confidence
    return layout_finding(metrics, rows, points, AFFECT, alpha, confidence)


def _calibration(root: Path, _params: Params) -> Finding | None:
    found = stored_metrics(root, "calibration")
    tables = [stored_rows(root, name, "calibration") for name in ("rates", "power", "verdicts")]
    rates, power, verdicts = tables
    if found is None or rates is None or power is None or verdicts is None:
        return None
    return calibration_finding(found, rates, power, verdicts)


CHAPTERS = (
    Source("gates", "Go or no-go", _gates, "Gates and looks", "decide", "metrics/decide.json"),
    Source("layers", "Where", _layers, "The sweep over layers", "signal", "metrics/signal.json"),
    Source("probes", "Probes", _probes, "Probe accuracy beside its baselines", "probe", "metrics/probe.json"),
    Source(
        "null-text",
        "State",
        _state,
        "What the states hold without the text",
        "null_text",
        "metrics/null_text.json",
    ),
    Source("time", "Time", _time, "When emotion shows", "temporal", "metrics/temporal.json"),
    Source(
        "geometry",
        "Geometry",
        _geometry,
        "How the emotions lie to one another",
        "geometry",
        "metrics/geometry.json",
    ),
    Source(
        "attention",
        "Attention",
        _attention,
        "Where attention looks",
        "attention",
        "metrics/attention.json",
    ),
    Source(
        "relate",
        "Acoustics and states",
        _relate,
        "How the states follow the sound",
        "relate",
        "metrics/relate.json",
    ),
    Source(
        "acoustics",
        "Sound",
        _sound,
        "What was measured in the audio",
        "acoustics",
        "data/acoustics.parquet",
    ),
    Source("sae", "SAE", _sae, "The training of sparse autoencoders", "sae", "metrics/sae.json"),
    Source("latents", "Latents", _latents, "What single latents say", "latents", "metrics/latents.json"),
    Source(
        "calibration",
        "Calibration",
        _calibration,
        "The instrument on data and models whose truth is known",
        "summary",
        "metrics/calibration.json",
        "make calibrate",
    ),
)
