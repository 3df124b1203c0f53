"""Stage `temporal`: when emotion separates the states, whether that grows, and the rhythm of the states.

Without the single steps that it needs, the stage writes the reason in place of curves and exits with 0, so
that the report can still be made.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.base.seeding import rng_for
from moodlens.params.pipeline import Params, Temporal
from moodlens.stats.bootstrap import wording_resamples
from moodlens.stats.multiplicity import max_t
from moodlens.stats.sign_flip import random_signs
from moodlens.store.run_record import Run, stage_run
from moodlens.store.tables import write_metrics, write_plot
from moodlens.temporal import clip_scalars
from moodlens.temporal.layer import SUMMARIES, Plan, measure_layer, measure_tokens, unit_weights
from moodlens.temporal.rhythm import within_emotion
from moodlens.temporal.separation import clusters, windows
from moodlens.temporal.tables import Layer, Timeline, metrics_of, no_rows, plots_of
from moodlens.workspace.design import (
    StepsNotStored,
    Workspace,
    acoustic_table,
    clip_table,
    open_workspace,
    wording_labels,
)
from moodlens.workspace.shards import Clock, clock_of, hookpoints, states_by_shard, tensors_of


def run(params: Params, root: Path) -> Run | None:
    """Write metrics/temporal.json and its curves; without stored steps, the reason. Return the run."""
    work = open_workspace(root)
    clips = clip_table(work)
    try:
        clock = clock_of(work, clips)
    except StepsNotStored as reason:
        print(f"temporal: not run. {reason}")
        _write(root, {"not_run": str(reason)}, no_rows(work.design.emotions))
        return None
    plan = plan_of(work, clips, clock, params.temporal)
    layers, changes = [], []
    for key in hookpoints(work, clips):
        layer, change = _layer(work, clips, clock, key, plan)
        layers.append(layer)
        changes.append(change)
    codes = tensors_of(work, clips, "codes", "shard", ["codes"])["codes"]
    timeline = Timeline(
        design=work.design,
        n_clips=len(clips),
        n_permutations=params.temporal.n_permutations,
        times_s=plan.windows.times_s(clock.rate_hz),
        layers=tuple(layers),
        clusters=clusters(np.stack([layer.separation.f for layer in layers]), params.temporal.cluster_alpha),
        p_change=max_t(np.stack(changes)),
        scalars=clip_scalars.by_emotion(
            np.stack([row for layer in layers for row in layer.scalars.values()]), plan.relabellings
        ),
        p_tempo=max_t(np.stack([match.null for layer in layers for match in layer.tempo.values()])),
        tokens=measure_tokens(codes, clock.frame_rate_hz, plan),
        smallest_p=work.design.smallest_p("wording", params.temporal.n_permutations),
    )
    metrics = metrics_of(timeline, params.decide.alpha_weak)
    _write(root, metrics, plots_of(timeline))
    return stage_run("temporal", params, metrics, _layer_runs(timeline))


def plan_of(work: Workspace, clips: pd.DataFrame, clock: Clock, section: Temporal) -> Plan:
    """Return what all layers are measured with; a unit is a wording."""
    design = work.design
    members, labels = design.members("wording"), wording_labels(design)
    prompts = clips["prompt"].to_numpy()
    rngs = {name: rng_for("temporal", name, section.seed) for name in ("labels", "boot", "signs", "tempo")}
    n = section.n_permutations
    return Plan(
        units=members[prompts],
        weights=unit_weights(members, prompts),
        labels=labels,
        relabellings=design.relabellings("wording", n, rngs["labels"]),
        counts=wording_resamples(design, section.n_bootstrap, rngs["boot"]),
        signs=random_signs(len(labels), n, rngs["signs"]),
        exchanges=within_emotion(labels, np.bincount(members), n, rngs["tempo"]),
        tempo_hz=acoustic_table(work).loc[clips["clip_id"], "tempo_bpm"].to_numpy(dtype=np.float64) / 60,
        windows=windows(clock.n_complete, clock.first, section.steps_per_window),
        steps=clock.steps,
        rate_hz=clock.rate_hz,
        n_components=section.n_components,
        confidence=section.confidence,
    )


def _layer(
    work: Workspace, clips: pd.DataFrame, clock: Clock, key: str, plan: Plan
) -> tuple[Layer, np.ndarray]:
    names = {name: f"{key}/{name}" for name in SUMMARIES}
    stored = tensors_of(work, clips, "activations", "summary", list(names.values()))
    summaries = {name: stored[tensor].astype(np.float64) for name, tensor in names.items()}
    return measure_layer(key, lambda: states_by_shard(work, clips, clock, key), summaries, plan)


def _write(root: Path, metrics: Mapping[str, object], plots: Mapping[str, pd.DataFrame]) -> None:
    write_metrics(metrics, root / "metrics" / "temporal.json")
    for name, rows in plots.items():
        write_plot(rows, root / "metrics" / f"temporal_{name}.csv")


def _layer_runs(timeline: Timeline) -> list[Run]:
    """Return a run per layer with its curve over time."""
    return [
        Run(
            f"temporal/{layer.site}",
            metrics={"change": layer.divergence.change, "tempo_hits": layer.tempo["components"].hits},
            curves={"effect": layer.separation.effect.tolist(), "f": layer.separation.f[:, 0].tolist()},
        )
        for layer in timeline.layers
    ]
