"""Stage `null_text`: emotion in re-encoded states under null text, beside other readers of their tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for
from moodlens.contracts.tensors import CONDITIONS
from moodlens.null_text.evidence import (
    DECODERS,
    HISTORIES,
    NETWORK_FAMILIES,
    SAID,
    UNTRAINED,
    StateEvidence,
    factor_metrics,
    rung_metrics,
)
from moodlens.null_text.few_shot import Scores, few_shot_task, read
from moodlens.null_text.learning_curve import Point, learning_curve
from moodlens.null_text.readers import Reader, SwapShares, by_wording, reduced, swap_shares, wording_means
from moodlens.null_text.regression import (
    FACTORS,
    OTHERS,
    Partial,
    TargetScore,
    Told,
    follow_prompts,
    partial_r2,
    read_targets,
)
from moodlens.null_text.step_probe import step_probe
from moodlens.null_text.untrained_memory import MemoryTest, compare
from moodlens.params.pipeline import NullText, Params
from moodlens.probes.family import ProbeSettings
from moodlens.probes.kernel_ridge import grid_accuracies, out_of_fold_hat
from moodlens.stats.bootstrap import wording_resamples
from moodlens.stats.design import Design
from moodlens.stats.gram import centred, prompt_grams, site_gram, standardised
from moodlens.stats.permutation import unit_orders
from moodlens.stats.sweep import SweepSettings, sweep
from moodlens.store.run_record import Run, stage_run
from moodlens.store.tables import write_metrics, write_plot
from moodlens.workspace import sites
from moodlens.workspace.design import Workspace, acoustic_table, open_workspace, prompt_table
from moodlens.workspace.reencoded import Reencoded, open_reencoded

N_TURNS = 999
"""Rotations of the partial R2. Each refits the ridge in every fold."""


def run(params: Params, root: Path) -> Run:
    """Write metrics/null_text.json, its tables `_steps` and `_curve`; return the run."""
    work = open_workspace(root)
    states = open_reencoded(work)
    section = params.null_text
    settings = ProbeSettings.from_section(section)
    readers = load_readers(states)
    over_wordings, swaps = _over_wordings(states, readers, section), _swaps(states, section)
    evidence = StateEvidence(
        signal=sweep("state", states.means("model", "null"), work.design, _sweep_settings(params)),
        probe=step_probe(readers[0], readers[1:], work.design, "wording", settings),
        steps=tuple(states.steps),
        hookpoints=tuple(states.hookpoints),
        memory=memory_test(readers[0], states, section),
        whole_curve=tuple(_curve(whole_clip(states), work, section)),
        partial=over_wordings.partial,
        readings=over_wordings.readings,
        factors=over_wordings.factors,
        swaps=swaps.whole_clip,
        early_swap=swaps.first_step,
    )
    n_units = len(work.design.unit_labels("wording"))
    delta = params.signal.equivalence_delta
    rung = rung_metrics(evidence, delta=delta, n_permutations=section.n_permutations, n_units=n_units)
    design = work.design
    metrics = {
        "state": rung,
        "factors": factor_metrics(evidence.factors),
        "n_prompts": design.n_prompts,
        "n_emotions": design.n_classes,
        "n_clips": len(states.clips),
        "chance": 1 / design.n_classes,
    }
    steps, curve = step_rows(evidence, readers, work, settings), curve_rows(evidence, design.n_classes)
    write_metrics(metrics, root / "metrics" / "null_text.json")
    write_plot(steps, root / "metrics" / "null_text_steps.csv")
    write_plot(curve, root / "metrics" / "null_text_curve.csv")
    numbers = {key: value for key, value in rung.items() if not isinstance(value, Mapping)}
    children = _hookpoint_runs(steps)
    return stage_run("null_text", params, numbers, children, also=("reencode",))


@dataclass(frozen=True)
class WordingScores:
    """Scores that take one row per wording."""

    partial: Partial | None  # beyond the acoustics
    readings: tuple[TargetScore, ...]  # of the targets
    factors: tuple[Told, ...]


@dataclass(frozen=True)
class Swaps:
    """How far another text moves the states."""

    whole_clip: dict[str, SwapShares]  # reader -> shares, means over the clip
    first_step: SwapShares  # the model at its first stored step


def load_readers(states: Reencoded) -> list[Reader]:
    """Return the readers of the tokens step by step, the model first, under the names of the report."""
    readers = [replace(states.single_steps(name, "null"), name=shown) for name, shown in SAID.items()]
    readers.sort(key=lambda reader: reader.name != SAID["model"])
    return [*readers, states.token_history(), states.codec_history()]


def memory_test(model: Reader, states: Reencoded, section: NullText) -> MemoryTest:
    """Return the model's few-shot area beside readers of the same tokens, each at sites of its own choice.

    Memory holds one untrained decoder's Gram matrices at a time.
    """
    rng = rng_for("few-shot draws", section.seed)
    task = few_shot_task(
        states.work.design, section.n_folds, section.shots, section.n_draws, section.ridge, rng
    )
    families: dict[str, list[Scores]] = {}
    for draw in range(states.n_draws):
        for reader in states.memories(draw):
            families.setdefault(UNTRAINED + reader.name, []).append(read(reader.name, reader.sites, task))
    for name, load in zip(HISTORIES, (states.token_rows, states.codec_rows), strict=True):
        families[name] = [read(name, _reduced(states, load, task.folds), task)]
    for name, network in zip(NETWORK_FAMILIES, states.networks(), strict=True):
        families[name] = [read(name, network.sites, task)]
    return compare(
        read(model.name, model.sites, task),
        families,
        task,
        n_flips=section.n_permutations,
        n_bootstrap=section.n_bootstrap,
        confidence=section.confidence,
        seed=section.seed,
    )


def _reduced(states: Reencoded, load: Callable[[], list[np.ndarray]], folds: np.ndarray) -> list[np.ndarray]:
    """Return the Gram matrices of a history at every step, reduced to d_model dimensions in each fold."""
    rows = np.stack(load()).astype(np.float64)
    width = int(states.manifest["model"]["d_model"])
    by_fold = []
    for fold in np.unique(folds):
        narrow = reduced(rows, (folds != fold)[states.prompts], width)
        by_fold.append(
            prompt_grams([site_gram("a reduced history", step, states.prompts) for step in narrow])
        )
    return by_fold


def whole_clip(states: Reencoded) -> list[tuple[str, np.ndarray]]:
    """Return readers of whole clips: mean states pooled over layers, and readers without a decoder."""
    names = sorted(DECODERS, key=lambda name: name != "model")
    readers = [(SAID[name], prompt_grams(states.means(name, "null")).mean(axis=0)[None]) for name in names]
    for load in (sites.tokens, sites.codec, sites.acoustics):
        site = load(states.work)
        readers.append((site.site, prompt_grams([site])))
    return readers


def _sweep_settings(params: Params) -> SweepSettings:
    return SweepSettings(
        params.null_text.n_permutations,
        params.null_text.n_bootstrap,
        params.null_text.confidence,
        params.signal.equivalence_delta,
        params.decide.alpha_weak,
        params.decide.equivalence_power,
        params.null_text.seed,
    )


def _curve(readers: list[tuple[str, np.ndarray]], work: Workspace, section: NullText) -> list[Point]:
    return learning_curve(
        readers,
        work.design,
        section.shots,
        n_draws=section.n_draws,
        n_bootstrap=section.n_bootstrap,
        penalty=section.ridge,
        confidence=section.confidence,
        rng=rng_for("state", "curve", section.seed),
    )


def _over_wordings(states: Reencoded, readers: list[Reader], section: NullText) -> WordingScores:
    """Return the scores with one row per wording: partial R2 beyond acoustics, and the targets."""
    design = states.work.design
    labels = design.unit_labels("wording")
    n, rng = len(labels), rng_for("state", "wordings", section.seed)
    folds = rng.permutation(n) % min(section.n_folds, n)
    # Means of few prompts have more variance: only wordings of one size are exchanged.
    permutations = unit_orders(n, section.n_permutations, rng, np.bincount(design.wordings))
    counts = wording_resamples(design, section.n_bootstrap, rng)
    onehot = (labels[:, None] == np.arange(design.n_classes)).astype(np.float64)
    descriptors = _descriptors(states)
    pooled = prompt_grams(states.means("model", "null")).mean(axis=0)
    partial = partial_r2(
        wording_means(standardised(descriptors.to_numpy(dtype=np.float64)), design),
        by_wording(pooled[None], design)[0],
        onehot - onehot.mean(axis=0),
        folds,
        section.ridge,
        N_TURNS,
        section.confidence,
        rng,
    )
    hats = {
        reader.name: np.stack(
            [out_of_fold_hat(gram, folds, section.ridge) for gram in by_wording(reader.pooled, design)]
        )
        for reader in readers
    }
    intended = intended_affect(states)
    targets = targets_of(design, intended, descriptors)
    readings = read_targets(
        hats,
        targets,
        counts,
        permutations,
        section.confidence,
        section.n_folds,
        {
            name: {OTHERS: _without_kin(name, descriptors, design, folds, section)}
            for name in FACTORS
            if name in targets
        },
    )
    factors = follow_prompts(readings, intended, permutations)
    return WordingScores(partial, tuple(readings), factors)


def _without_kin(
    factor: str, descriptors: pd.DataFrame, design: Design, folds: np.ndarray, section: NullText
) -> np.ndarray:
    """Return the hat matrices of the descriptors that do not measure the factor itself."""
    others = descriptors.drop(columns=list(FACTORS[factor].kin)).to_numpy(dtype=np.float64)
    means = wording_means(standardised(others), design)
    return out_of_fold_hat(centred(means @ means.T), folds, section.ridge)[None]


def _descriptors(states: Reencoded) -> pd.DataFrame:
    """Return the acoustic descriptors of every prompt, means over its clips, in the order of the design."""
    table = acoustic_table(states.work).loc[states.clips["clip_id"]]
    return table.groupby(states.prompts).mean()


def intended_affect(states: Reencoded) -> dict[str, np.ndarray]:
    """Return the valence and arousal that the prompts of each wording intend."""
    prompts = prompt_table(states.work)
    return {
        name: wording_means(prompts[name].to_numpy(dtype=np.float64), states.work.design)
        for name in ("valence", "arousal")
    }


def targets_of(
    design: Design, intended: Mapping[str, np.ndarray], descriptors: pd.DataFrame
) -> Mapping[str, np.ndarray]:
    """Return the targets per wording: intended valence and arousal, factors as measured in the music."""
    factors = {
        name: wording_means(descriptors[factor.descriptor].to_numpy(dtype=np.float64), design)
        for name, factor in FACTORS.items()
    }
    means = {**intended, **factors}
    return {name: y for name, y in means.items() if np.isfinite(y).all() and y.std() > 0}


def _swaps(states: Reencoded, section: NullText) -> Swaps:
    """Return how far another text moves the states of every model."""
    design, swapped = states.work.design, states.swapped_labels()
    if not (swapped >= 0).any():
        rule, advice = "give clips the text of another emotion", "Run `dvc repro reencode`"
        raise ContractError(must("data/reencoded/swaps.parquet", rule, "none", next_step=advice))
    folds = ProbeSettings.from_section(section).folds(design, "wording")

    def shares(model: str, part: str) -> SwapShares:
        rows = {name: states.states(model, name, part) for name in CONDITIONS}
        return swap_shares(rows, states.prompts, swapped, design, folds, section.ridge)

    return Swaps({shown: shares(name, "mean") for name, shown in SAID.items()}, shares("model", "steps"))


def step_rows(
    evidence: StateEvidence, readers: list[Reader], work: Workspace, settings: ProbeSettings
) -> pd.DataFrame:
    """Return one row per reader, layer and step, with chance: metrics/null_text_steps.csv."""
    design = work.design
    folds = settings.folds(design, "wording")
    rows = []
    for reader in readers:
        n_steps, n_layers, n, _ = reader.grams.shape
        grams = reader.grams.reshape(-1, n, n)
        accuracy = grid_accuracies(grams, folds, design.labels[None].astype(np.int8), (settings.ridge,))[:, 0]
        for (step, layer), value in zip(product(range(n_steps), range(n_layers)), accuracy, strict=True):
            layered = n_layers == len(evidence.hookpoints) and reader.name in SAID.values()
            row = {"reader": reader.name, "hookpoint": evidence.hookpoints[layer] if layered else ""}
            row |= {"step": evidence.steps[step], "accuracy": value}
            row["p_maxt"] = evidence.probe.p_by_site[step, layer] if reader.name == SAID["model"] else pd.NA
            rows.append(row | {"accuracy_null": 1 / design.n_classes})
    return pd.DataFrame(rows)


def curve_rows(evidence: StateEvidence, n_classes: int) -> pd.DataFrame:
    """Return one row per reading, reader and size, with chance: metrics/null_text_curve.csv."""
    readings = (("single step", evidence.memory.curve), ("whole clip", evidence.whole_curve))
    return pd.DataFrame(
        [
            {"reading": reading, **vars(point), "accuracy_null": 1 / n_classes}
            for reading, points in readings
            for point in points
        ]
    )


def _hookpoint_runs(steps: pd.DataFrame) -> list[Run]:
    """Return a run per hookpoint with its accuracies over the stored steps."""
    runs = []
    for hookpoint, rows in steps[steps["hookpoint"] != ""].groupby("hookpoint", sort=False):
        curves = {
            f"accuracy {str(name).replace(',', '')}": part["accuracy"].tolist()
            for name, part in rows.groupby("reader", sort=False)
        }
        runs.append(Run(f"state/{hookpoint}", curves=curves))
    return runs
