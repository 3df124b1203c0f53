"""The chapters of the report: which stage each shows, and from which files its finding is made.

Each chapter has the name of its stage. A stage that adds a chapter adds a row to `CHAPTERS`; the page, its
navigation and the notes on what was not run use this table. The first chapter stands directly behind the
ladder, the others behind the players.
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
from moodlens.report.decide import decide_finding
from moodlens.report.forks import forks_finding
from moodlens.report.geometry import geometry_finding
from moodlens.report.interchange import interchange_finding
from moodlens.report.latents import latents_finding
from moodlens.report.null_text import null_text_finding
from moodlens.report.probe import probe_finding
from moodlens.report.records import Chapter, Finding
from moodlens.report.relate import relate_finding
from moodlens.report.sae import sae_finding, targets_grid
from moodlens.report.signal import signal_finding
from moodlens.report.temporal import temporal_finding
from moodlens.store.tables import read_metrics, read_table


@dataclass(frozen=True)
class Source:
    """One chapter before its files are read."""

    key: str  # the stage, with hyphens: anchor on the page
    title: str
    build: Callable[[Path, Params], Finding | None]  # None where a file it needs does not exist
    about: str
    file: str  # that the stage writes
    command: str = ""  # what makes it, where that is not `dvc repro <stage>`


def chapters_of(root: Path, params: Params) -> tuple[Chapter, ...]:
    """Return every chapter of the page in order; its finding is None where the stage gave no result.

    Raises:
        ContractError: a file exists and does not meet its contract.
    """
    return tuple(
        Chapter(
            source.key,
            source.title,
            None if _says_not_run(root / source.file) else source.build(root, params),
            source.about,
            source.command or f"dvc repro {source.key.replace('-', '_')}",
            source.file,
            _reason(root / source.file),
        )
        for source in CHAPTERS
    )


def _says_not_run(path: Path) -> bool:
    return path.suffix == ".json" and path.is_file() and "not_run" in read_metrics(path)


def _reason(path: Path) -> str:
    """Return why a stage gave no result and no error, as its metrics say; "" where they say nothing."""
    if path.suffix != ".json" or not path.is_file():
        return ""
    found = read_metrics(path)
    if found.get("applies") is False:
        do = "do" if path.stem.endswith("s") else "does"
        return f"{path.stem.capitalize()} {do} not apply: {found['reason']}."
    return str(found.get("not_run", ""))


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


def _forks(root: Path, params: Params) -> Finding | None:
    metrics = stored_metrics(root, "forks")
    tables = [stored_rows(root, f"forks_{name}") for name in ("shares", "places", "factors")]
    if metrics is None or not metrics["applies"] or any(rows is None for rows in tables):
        return None
    shares, places, factors = (rows or [] for rows in tables)
    margin, confidence = params.forks.margin, params.forks.confidence
    return forks_finding(metrics, shares, places, factors, margin, params.decide.alpha_weak, confidence)


def _interchange(root: Path, params: Params) -> Finding | None:
    metrics = stored_metrics(root, "interchange")
    tables = [stored_rows(root, f"interchange_{name}") for name in ("places", "arms", "factors")]
    if metrics is None or not metrics["applies"] or any(rows is None for rows in tables):
        return None
    places, arms, factors = (rows or [] for rows in tables)
    margin, confidence = params.interchange.margin, params.interchange.confidence
    return interchange_finding(metrics, places, arms, factors, margin, params.decide.alpha_weak, confidence)


def _signal(root: Path, params: Params) -> Finding | None:
    signal, rows = stored_metrics(root, "signal"), stored_rows(root, "signal_layers")
    if signal is None or rows is None:
        return None
    decided = stored_metrics(root, "decide")
    finding = decided["findings"]["layers"] if decided else None
    alpha, metrics = params.decide.alpha_weak, stored_rows(root, "signal_metrics") or ()
    return signal_finding(signal, rows, finding, alpha, params.signal.confidence, metrics)


def _probe(root: Path, params: Params) -> Finding | None:
    probe, rows = stored_metrics(root, "probe"), stored_rows(root, "probe_layers")
    if probe is None or rows is None:
        return None
    directions = stored_rows(root, "probe_directions") or ()
    return probe_finding(probe, rows, params.probe.n_folds, params.probe.confidence, directions)


def _null_text(root: Path, params: Params) -> Finding | None:
    metrics = stored_metrics(root, "null_text")
    steps, curve = stored_rows(root, "null_text_steps"), stored_rows(root, "null_text_curve")
    if metrics is None or steps is None or curve is None:
        return None
    decided = stored_metrics(root, "decide")
    finding = decided["findings"]["null_text"] if decided else None
    return null_text_finding(metrics, steps, curve, params.null_text.confidence, finding)


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


def _acoustics(root: Path, _params: Params) -> Finding | None:
    acoustics = stored_table(root, ACOUSTICS, "acoustics.parquet")
    clips = stored_table(root, CLIPS, "clips.parquet")
    return None if acoustics is None or clips is None else acoustics_finding(acoustics, clips)


def _decide(root: Path, _params: Params) -> Finding | None:
    decided = stored_metrics(root, "decide")
    return None if decided is None else decide_finding(decided, stored_rows(root, "decide_power") or [])


def _sae(root: Path, _params: Params) -> Finding | None:
    trained, rows = stored_metrics(root, "sae"), stored_rows(root, "sae_curves")
    return None if trained is None or rows is None else sae_finding(trained, rows)


def _latents(root: Path, params: Params) -> Finding | None:
    metrics = stored_metrics(root, "latents")
    counts, top = stored_rows(root, "latents_counts"), stored_rows(root, "latents_top")
    if metrics is None or counts is None or top is None:
        return None
    finding = latents_finding(metrics, counts, top, params.latents.fdr)
    trained = stored_metrics(root, "sae")
    if finding is None or trained is None:
        return finding
    targets = targets_grid(trained, metrics, params.sae, params.latents, params.report)
    return finding if targets is None else replace(finding, grids=(targets, *finding.grids))


def _temporal(root: Path, params: Params) -> Finding | None:
    metrics = stored_metrics(root, "temporal")
    clips = stored_table(root, CLIPS, "clips.parquet")
    acoustics = stored_table(root, ACOUSTICS, "acoustics.parquet")
    curves = [stored_rows(root, f"temporal_{name}") for name in ("steps", "layers", "readings", "spectra")]
    if metrics is None or clips is None or acoustics is None or any(rows is None for rows in curves):
        return None
    steps, layers, scalars, spectra = (rows or [] for rows in curves)
    measured: Any = clips.merge(acoustics, on="clip_id").groupby("emotion")["tempo_bpm"].median().to_dict()
    tempo_hz = {str(emotion): float(bpm) / 60 for emotion, bpm in measured.items()}
    alpha, confidence = params.decide.alpha_weak, params.temporal.confidence
    return temporal_finding(metrics, steps, layers, scalars, spectra, tempo_hz, alpha, confidence)


def _geometry(root: Path, params: Params) -> Finding | None:
    metrics, rows = stored_metrics(root, "geometry"), stored_rows(root, "geometry_layers")
    points = stored_rows(root, "geometry_points")
    if metrics is None or rows is None or points is None:
        return None
    alpha, confidence = params.decide.alpha_weak, params.geometry.confidence
    return geometry_finding(metrics, rows, points, AFFECT, alpha, confidence)


def _calibration(root: Path, _params: Params) -> Finding | None:
    metrics = stored_metrics(root, "calibration")
    tables = [stored_rows(root, name, "calibration") for name in ("rates", "power", "verdicts")]
    rates, power, verdicts = tables
    if metrics is None or rates is None or power is None or verdicts is None:
        return None
    return calibration_finding(metrics, rates, power, verdicts)


CHAPTERS = (
    Source(
        "forks",
        "Forks",
        _forks,
        "What carries the emotion into the music that follows",
        "metrics/forks.json",
    ),
    Source(
        "interchange",
        "Interchange",
        _interchange,
        "Does an exchange of states exchange the emotion of the music",
        "metrics/interchange.json",
    ),
    Source("decide", "Decide", _decide, "The gates before SAE training", "metrics/decide.json"),
    Source("signal", "Signal", _signal, "The effect by site", "metrics/signal.json"),
    Source("probe", "Probe", _probe, "Probe accuracy beside its baselines", "metrics/probe.json"),
    Source(
        "null-text",
        "Null text",
        _null_text,
        "What states tell of the music they are fed, without the text",
        "metrics/null_text.json",
    ),
    Source("temporal", "Temporal", _temporal, "Separation over time", "metrics/temporal.json"),
    Source("geometry", "Geometry", _geometry, "Maps of the emotions", "metrics/geometry.json"),
    Source("attention", "Attention", _attention, "Attention by head", "metrics/attention.json"),
    Source("relate", "Relate", _relate, "How the states follow the acoustics", "metrics/relate.json"),
    Source("acoustics", "Acoustics", _acoustics, "The descriptors of the audio", "data/acoustics.parquet"),
    Source("sae", "SAE", _sae, "The training of sparse autoencoders", "metrics/sae.json"),
    Source("latents", "Latents", _latents, "The selective latents", "metrics/latents.json"),
    Source(
        "calibration",
        "Calibration",
        _calibration,
        "The error rates and verdicts on data and models whose truth is known",
        "metrics/calibration.json",
        "make calibrate",
    ),
)
