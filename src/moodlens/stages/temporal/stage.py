"""Stage `temporal`: when emotion separates the states, whether it grows, and at which rhythm they move.

Clips that were generated without the single steps it needs are no fault: the stage writes why there are no
curves and ends well, so that a report is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.base.seeding import rng_for
from moodlens.params import pipeline as typed
from moodlens.params.pipeline import Params
from moodlens.stages.temporal import tables
from moodlens.stats.design import Design
from moodlens.stats.gram import mean_weights
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import relabellings, smallest_p
from moodlens.store.tables import write_metrics, write_plot
from moodlens.store.tracking import Run, log_runs, write_beside
from moodlens.temporal import clip_scalars
from moodlens.temporal.divergence import divergence, flipped_changes, random_signs
from moodlens.temporal.rhythm import (
    FASTEST_HZ,
    SLOWEST_HZ,
    TempoMatch,
    centroids_hz,
    leading_components,
    peaks_hz,
    relative_spectra,
    tempo_match,
    temporal_covariance,
    token_changes,
    within_emotion,
)
from moodlens.temporal.separation import Windows, clusters, separation, window_means, windows
from moodlens.workspace.design import (
    StepsNotStored,
    Workspace,
    acoustic_table,
    clip_table,
    open_workspace,
    tensors_of,
    wording_labels,
    wording_resamples,
)
from moodlens.workspace.steps import Clock, clock_of, hookpoints, states_by_shard

SUMMARIES = ("early", "late", "var", "norm")


@dataclass(frozen=True)
class Plan:
    """What every layer is measured with: the units and their relabellings are the same for all."""

    units: np.ndarray  # (clip,) unit of each clip
    weights: np.ndarray  # (unit, clip) prompt means of clips, then unit means of prompts
    labels: np.ndarray  # (unit,)
    table: np.ndarray  # (perm, unit) relabellings
    counts: np.ndarray  # (boot, unit) resamples
    signs: np.ndarray  # (perm, unit) exchanges of early and late
    exchanges: np.ndarray  # (perm, unit) exchanges of tempo within an emotion


def run(params: Params, root: Path) -> None:
    """Write metrics/temporal.json, its curves and an MLflow run; without stored steps, why there are none."""
    work = open_workspace(root)
    clips = clip_table(work)
    try:
        clock = clock_of(work, clips)
    except StepsNotStored as policy:
        print(f"temporal: not run. {policy}")
        _write(root, {"not_run": str(policy)}, tables.no_rows(work.design.emotions))
        write_beside(root, "temporal", {"run_id": ""})
        return
    plan = plan_of(work.design, clips, params.temporal)
    places = windows(clock.n_complete, clock.first, params.temporal.steps_per_window)
    tempo_hz = acoustic_table(work).loc[clips["clip_id"], "tempo_bpm"].to_numpy(dtype=np.float64) / 60
    layers, changes = [], []
    for key in hookpoints(work, clips):
        layer, swapped = _layer(work, clips, clock, places, plan, key, tempo_hz, params.temporal)
        layers.append(layer)
        changes.append(swapped)
    found = tables.Found(
        design=work.design,
        n_clips=len(clips),
        times_s=places.times_s(clock.rate_hz),
        layers=tuple(layers),
        clusters=clusters(np.stack([layer.separation.f for layer in layers]), params.temporal.cluster_alpha),
        p_change=max_t(np.stack(changes)),
        readings=clip_scalars.by_emotion(
            np.stack([row for layer in layers for row in layer.readings.values()]), plan.table
        ),
        p_tempo=max_t(np.stack([match.null for layer in layers for match in layer.tempo.values()])),
        tokens=_tokens(work, clips, clock, plan, tempo_hz),
        smallest_p=smallest_p(plan.labels, params.temporal.n_permutations),
    )
    metrics = tables.metrics_of(found, params.temporal, params.decide.alpha_weak)
    _write(root, metrics, tables.plots_of(found))
    log_runs(root, "temporal", _logged(found, metrics, params))


def plan_of(design: Design, clips: pd.DataFrame, section: typed.Temporal) -> Plan:
    """Return units, relabellings and resamples; a unit is a wording."""
    members, labels = design.members("wording"), wording_labels(design)
    prompts = clips["prompt"].to_numpy()
    rngs = {name: rng_for("temporal", name, section.seed) for name in ("labels", "boot", "signs", "tempo")}
    n = section.n_permutations
    return Plan(
        members[prompts],
        mean_weights(members) @ mean_weights(prompts),
        labels,
        relabellings(labels, n, rngs["labels"]),
        wording_resamples(design, section.n_bootstrap, rngs["boot"]),
        random_signs(len(labels), n, rngs["signs"]),
        within_emotion(labels, np.bincount(members), n, rngs["tempo"]),
    )


def _layer(
    work: Workspace,
    clips: pd.DataFrame,
    clock: Clock,
    places: Windows,
    plan: Plan,
    key: str,
    tempo_hz: np.ndarray,
    section: typed.Temporal,
) -> tuple[tables.Layer, np.ndarray]:
    means, covariance = None, None
    for rows, states in states_by_shard(work, clips, clock, key):
        part = np.tensordot(plan.weights[:, rows].astype(np.float32), window_means(states, places), axes=1)
        means = part if means is None else means + part
        moved = temporal_covariance(states)
        covariance = moved if covariance is None else covariance + moved
    assert means is not None, "hookpoints come from a shard of these clips"
    assert covariance is not None, "likewise"
    separated = separation(key, means, plan.table, plan.counts, section.confidence)
    basis = leading_components(covariance, section.n_components).astype(np.float32)
    names = [f"{key}/{name}" for name in SUMMARIES]
    stored = tensors_of(work, clips, "activations", "summary", names)
    early, late, variance, norms = (stored[name].astype(np.float64) for name in names)
    norms = norms[:, clock.steps]
    power = {}
    frequencies, power["norm"] = relative_spectra(norms[:, :, None], clock.rate_hz)
    power["components"] = np.empty_like(power["norm"])
    for rows, states in states_by_shard(work, clips, clock, key):
        power["components"][rows] = relative_spectra(states @ basis, clock.rate_hz)[1]
    clip_scalars = {"magnitude": norms.mean(axis=1), "variance": variance.mean(axis=1)}
    tempo: dict[str, TempoMatch] = {}
    for series in ("components", "norm"):
        peaks = peaks_hz(frequencies, power[series], SLOWEST_HZ, FASTEST_HZ)
        clip_scalars[f"centroid_{series}_hz"] = centroids_hz(frequencies, power[series])
        clip_scalars[f"peak_{series}_hz"] = peaks
        tempo[series] = tempo_match(
            frequencies, power[series], peaks, tempo_hz, plan.units, plan.labels, plan.exchanges
        )
    unit_early, unit_late = plan.weights @ early, plan.weights @ late
    layer = tables.Layer(
        key,
        separated,
        divergence(unit_early, unit_late, plan.labels, plan.counts, section.confidence),
        {name: plan.weights @ values for name, values in clip_scalars.items()},
        tempo,
        plan.weights @ norms[:, places.starts],
        tables.Spectrum(frequencies, plan.weights @ power["components"]),
    )
    return layer, flipped_changes(unit_early, unit_late, plan.labels, plan.signs)


def _tokens(
    work: Workspace, clips: pd.DataFrame, clock: Clock, plan: Plan, tempo_hz: np.ndarray
) -> tables.Tokens:
    """Return how the rhythm shows in the bare token stream: what a layer's rhythm must exceed."""
    codes = tensors_of(work, clips, "codes", "shard", ["codes"])["codes"]
    frequencies, power = relative_spectra(token_changes(codes), clock.frame_rate_hz)
    peaks = peaks_hz(frequencies, power, SLOWEST_HZ, FASTEST_HZ)
    match = tempo_match(frequencies, power, peaks, tempo_hz, plan.units, plan.labels, plan.exchanges)
    return tables.Tokens(match, tables.Spectrum(frequencies, plan.weights @ power))


def _write(root: Path, metrics: Mapping[str, object], plots: Mapping[str, pd.DataFrame]) -> None:
    write_metrics(metrics, root / "metrics" / "temporal.json")
    for name, rows in plots.items():
        write_plot(rows, root / "metrics" / f"temporal_{name}.csv")


def _logged(found: tables.Found, metrics: dict[str, object], params: Params) -> Run:
    """Return the MLflow run: a child per layer with its curve over time."""
    children = [
        Run(
            f"temporal/{layer.site}",
            metrics={"change": layer.divergence.change, "tempo_hits": layer.tempo["components"].hits},
            curves={"effect": layer.separation.effect.tolist(), "f": layer.separation.f[:, 0].tolist()},
        )
        for layer in found.layers
    ]
    numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, (int, float))}
    inputs = {"temporal": vars(params.temporal), "model": vars(params.model)}
    return Run("temporal", inputs, numbers, children=children)
