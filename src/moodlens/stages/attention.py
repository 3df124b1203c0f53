"""Stage `attention`: the targets of cross-attention and self-attention, by layer, head and time."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.attention.contrast import HeadTest, emotion_test, paired_test, unit_means
from moodlens.attention.summaries import (
    OVER_TIME,
    STORED,
    HeadSummaries,
    entropy_bands,
    head_summaries,
    over_time,
    uniform_distance,
)
from moodlens.base.errors import must
from moodlens.base.seeding import rng_for
from moodlens.capture.recorders import complete_steps
from moodlens.contracts.tables import CLIPS, NEUTRAL
from moodlens.params.pipeline import Attention, Params
from moodlens.stats.design import Design
from moodlens.store.run_record import Run, groups, stage_run
from moodlens.store.tables import read_table, write_metrics, write_plot
from moodlens.workspace.design import Workspace, clip_table, open_workspace, prompt_table
from moodlens.workspace.shards import tensors_of

HEAD_COLUMNS = (
    "layer", "head", "difference", "p", "p_maxt", "lift_emotion", "lift_control", "twin_difference",
    "p_beyond_twin", "p_beyond_twin_maxt", "end_mass", "entropy", "entropy_f", "entropy_p", "entropy_p_maxt",
    "twin_entropy", "distance", "distance_f", "distance_p", "distance_p_maxt", "self_entropy", "first_mass",
)  # fmt: skip
TIME_COLUMNS = ("emotion", "layer", "step", *OVER_TIME, "entropy_low", "entropy_high")
LEVEL = 0.05
"""Adjusted p below which a head is counted as significant."""


def run(params: Params, root: Path) -> Run | None:
    """Write metrics/attention.json, attention_heads.csv, attention_time.csv; return the run."""
    if params.generate.attention:
        work = open_workspace(root)
        metrics, heads, curves = analyse(work, params.attention)
    else:
        advice = "Set it in params.yaml and run `dvc repro`"
        reason = must("generate.attention", "be true to record attention", False, next_step=advice)
        metrics = {"captured": False, "not_run": reason}
        heads, curves = pd.DataFrame(columns=list(HEAD_COLUMNS)), pd.DataFrame(columns=list(TIME_COLUMNS))
    write_metrics(metrics, root / "metrics" / "attention.json")
    write_plot(heads, root / "metrics" / "attention_heads.csv")
    write_plot(curves, root / "metrics" / "attention_time.csv")
    children = [_head_run(heads)] if len(heads) else []
    return stage_run("attention", params, groups(metrics), children)


def analyse(work: Workspace, section: Attention) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Return the metrics, one row per head, and the curves over time by emotion and layer."""
    clips = clip_table(work)
    stored = tensors_of(work, clips, "activations", "attention", STORED)
    n_steps = int(clips["n_steps"].iloc[0])
    steps = complete_steps(n_steps, n_steps - int(clips["n_frames"].iloc[0]) + 1)
    of_clips = head_summaries(stored, steps)
    prompts = clips["prompt"].to_numpy()
    by_prompt = {name: unit_means(values, prompts) for name, values in vars(of_clips).items()}
    n_tokens = unit_means(stored["tokens"].sum(axis=1)[:, None, None], prompts)
    tests = _tests(HeadSummaries(**by_prompt), n_tokens, work.design, section)
    heads = _head_rows(tests, by_prompt, prompt_table(work)["set"].to_numpy())
    uniform = float(uniform_distance(n_steps)[steps].mean())
    neutral = _neutral(work)
    metrics = {"captured": True, **_metrics(tests, by_prompt, uniform)}
    metrics["n_clips"], metrics["n_prompts"] = len(clips), work.design.n_prompts
    metrics["n_permutations"] = section.n_permutations
    if neutral is not None:
        without = head_summaries(neutral, steps).entropy
        metrics["entropy"]["neutral"] = float(without.mean())
        metrics["entropy"]["n_neutral_clips"] = len(without)
    labels = work.design.labels[clips["prompt"].to_numpy()]
    bands = entropy_bands(
        stored, labels, work.design.wordings[clips["prompt"].to_numpy()], section.n_bins,
        section.n_bootstrap, section.confidence, rng_for("attention", "bands", section.seed),
    )  # fmt: skip
    curves = _curves(over_time(stored, labels, section.n_bins), bands, work.design.emotions, n_steps)
    return metrics, heads, curves


def _tests(
    prompts: HeadSummaries, n_tokens: np.ndarray, design: Design, section: Attention
) -> dict[str, HeadTest]:
    """Return every test. The units are wordings; tests of one kind share their relabellings."""

    def flips(differences: np.ndarray) -> HeadTest:
        rng = rng_for("attention", "signs", section.seed)
        counts = (section.n_permutations, section.n_bootstrap)
        return paired_test(differences, design.wordings, *counts, section.confidence, rng)

    def relabelled(values: np.ndarray) -> HeadTest:
        rng = rng_for("attention", "labels", section.seed)
        return emotion_test(values, design, section.n_permutations, rng)

    return {
        "mass": flips(prompts.difference),
        "beyond_twin": flips(prompts.difference - prompts.twin_difference),
        "entropy": relabelled(prompts.entropy),
        "twin_entropy": relabelled(prompts.twin_entropy),
        "text_length": relabelled(n_tokens),
        "distance": relabelled(prompts.distance),
    }


def _neutral(work: Workspace) -> dict[str, np.ndarray] | None:
    """Return the summaries of the clips of neutral prompts, None without such clips."""
    table = read_table(CLIPS, work.root / "data" / "clips.parquet")
    table = table.loc[table["emotion"] == NEUTRAL]
    return None if table.empty else tensors_of(work, table, "activations", "attention", STORED)


def _metrics(tests: dict[str, HeadTest], by_prompt: dict[str, np.ndarray], uniform: float) -> dict[str, Any]:
    """Return the main numbers, as `dvc metrics diff` shows them."""
    mass, entropy, distance = tests["mass"], tests["entropy"], tests["distance"]
    best = mass.best
    most = np.unravel_index(np.where(mass.estimate > 0, mass.statistic, -1).argmax(), mass.estimate.shape)
    return {
        "mass": {
            "best": _name(best),
            "difference": float(mass.estimate[best]),
            "low": mass.low,
            "high": mass.high,
            "p": float(mass.p_max[best]),
            "most": _name((int(most[0]), int(most[1]))),
            "most_difference": float(mass.estimate[most]),
            "most_p": float(mass.p_max[most]),
            "n_more": int(((mass.p_max < LEVEL) & (mass.estimate > 0)).sum()),
            "n_less": int(((mass.p_max < LEVEL) & (mass.estimate < 0)).sum()),
            "mean": float(mass.estimate.mean()),
            "twin_difference": float(np.nanmean(by_prompt["twin_difference"][:, *best])),
            "p_beyond_twin": float(tests["beyond_twin"].p_max[best]),
            "n_wordings": mass.n_units,
        },
        "entropy": {
            "mean": float(entropy.estimate.mean()),
            "twin_mean": float(tests["twin_entropy"].estimate.mean()),
            "best": _name(entropy.best),
            "f": float(entropy.statistic[entropy.best]),
            "p": float(entropy.p_max[entropy.best]),
            "n_significant": int((entropy.p_max < LEVEL).sum()),
            "twin_p": float(tests["twin_entropy"].p_max.min()),
            "text_length_p": float(tests["text_length"].p.min()),
        },
        "distance": {
            "mean_steps": float(distance.estimate.mean()),
            "uniform_steps": uniform,
            "best": _name(distance.best),
            "f": float(distance.statistic[distance.best]),
            "p": float(distance.p_max[distance.best]),
            "n_significant": int((distance.p_max < LEVEL).sum()),
            "first_mass": float(by_prompt["first"].mean()),
        },
        "n_heads": int(mass.estimate.size),
        "n_wordings": entropy.n_units,
    }


def _name(head: tuple[int, int]) -> str:
    return f"layer {head[0]} head {head[1]}"


def _head_rows(
    tests: dict[str, HeadTest], by_prompt: dict[str, np.ndarray], sets: np.ndarray
) -> pd.DataFrame:
    """Return one row per layer and head: metrics/attention_heads.csv."""
    mass, beyond = tests["mass"], tests["beyond_twin"]
    known = np.isfinite(by_prompt["difference"]).all(axis=(1, 2))
    columns = {
        "difference": mass.estimate,
        "p": mass.p,
        "p_maxt": mass.p_max,
        "lift_emotion": by_prompt["lift_emotion"][known].mean(axis=0),
        "lift_control": by_prompt["lift_control"][known].mean(axis=0),
        "twin_difference": by_prompt["twin_difference"][known].mean(axis=0),
        "p_beyond_twin": beyond.p,
        "p_beyond_twin_maxt": beyond.p_max,
        "end_mass": by_prompt["end"].mean(axis=0),
        **_emotion_columns("entropy", tests["entropy"]),
        "twin_entropy": tests["twin_entropy"].estimate,
        **_emotion_columns("distance", tests["distance"]),
        "self_entropy": by_prompt["self_entropy"].mean(axis=0),
        "first_mass": by_prompt["first"].mean(axis=0),
    }
    for name in sorted(set(sets[known])):
        columns[f"difference_{name}"] = by_prompt["difference"][known & (sets == name)].mean(axis=0)
    n_layers, n_heads = mass.estimate.shape
    index = {"layer": np.repeat(np.arange(n_layers), n_heads), "head": np.tile(np.arange(n_heads), n_layers)}
    return pd.DataFrame(index | {name: values.ravel() for name, values in columns.items()})


def _emotion_columns(name: str, test: HeadTest) -> dict[str, np.ndarray]:
    return {
        name: test.estimate,
        f"{name}_f": test.statistic,
        f"{name}_p": test.p,
        f"{name}_p_maxt": test.p_max,
    }


def _curves(
    curves: dict[str, np.ndarray], bands: np.ndarray, emotions: tuple[str, ...], n_steps: int
) -> pd.DataFrame:
    """Return one row per emotion, layer and part of the clip: metrics/attention_time.csv.

    Rows without a layer are means over all layers, each wording with the same weight; only they have an
    interval.
    """
    n_layers, n_bins = curves["entropy"].shape[1:]
    middle = (np.arange(n_bins) + 0.5) * n_steps / n_bins
    rows = []
    for k, emotion in enumerate(emotions):
        value, low, high = bands[k]
        whole = {"layer": pd.NA, "step": middle, "entropy": value, "entropy_low": low, "entropy_high": high}
        rows.append(pd.DataFrame({"emotion": emotion, **whole}))
    for k, emotion in enumerate(emotions):
        for layer in range(n_layers):
            columns = {name: values[k, layer] for name, values in curves.items()}
            rows.append(pd.DataFrame({"emotion": emotion, "layer": layer, "step": middle, **columns}))
    return pd.concat(rows, ignore_index=True).reindex(columns=list(TIME_COLUMNS))


def _head_run(heads: pd.DataFrame) -> Run:
    """Return the run of the heads: curves over heads, layer by layer."""
    columns = ("difference", "p_maxt", "entropy", "entropy_p_maxt", "distance", "distance_p_maxt")
    return Run("attention/heads", curves={name: [float(value) for value in heads[name]] for name in columns})
