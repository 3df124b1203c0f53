"""Stage `relate`: how states hang together with what is heard, beside text, tokens and the random twin."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for
from moodlens.contracts.tables import ACOUSTICS, PROMPTS
from moodlens.params.pipeline import Params, Relate
from moodlens.probes.folds import group_folds
from moodlens.relate.family import (
    Distances,
    Matched,
    Tested,
    descriptor_tests,
    distance_tests,
    matched_test,
    wording_grams,
)
from moodlens.relate.matching import DESCRIPTORS, Matches, matches
from moodlens.stats.bootstrap import class_means, interval, resamples
from moodlens.stats.gram import SiteGram
from moodlens.stats.permutation import p_values, relabellings
from moodlens.store.tables import read_table, write_metrics, write_plot
from moodlens.store.tracking import Run, log_runs
from moodlens.workspace import sites
from moodlens.workspace.design import Workspace, acoustic_table, clip_table, open_workspace

FAMILIES = ("layers", "twin_layers", "tokens", "text", "words")
"""maxT runs over the places of one family."""
NAMES = tuple(ACOUSTICS.names[1:])
"""The descriptors, columns of the regression."""


@dataclass(frozen=True)
class Sound:
    """What was heard: descriptors per clip, and which clips clearly match what was asked."""

    descriptors: np.ndarray  # (clip, descriptor), in the order of NAMES
    prompts: np.ndarray  # (clip,)
    site: SiteGram
    matched: Matches
    labels: np.ndarray  # (perm, wording) relabellings that `matched` was made under


@dataclass(frozen=True)
class Related:
    """One family against the sound."""

    sites: list[SiteGram]
    distance: Distances
    matched: Matched | None  # None without a row per clip
    between: Tested
    within: Tested | None


def run(params: Params, root: Path) -> None:
    """Write metrics/relate.json, relate_layers.csv, relate_descriptors.csv and an MLflow run."""
    work = open_workspace(root)
    section = params.relate
    n_wordings = len(work.design.unit_labels("wording"))
    if n_wordings < section.n_folds:
        rule = f"not exceed the {n_wordings} wordings that folds keep whole"
        advice = "Lower relate.n_folds or add prompts with other wordings"
        raise ContractError(must("relate.n_folds", rule, section.n_folds, next_step=advice))
    sound = heard(work, section)
    found = {name: relate(name, places, sound, work, section) for name, places in _families(work).items()}
    metrics = {**match_metrics(sound, work, section), **_metrics(found)}
    metrics["n_clips"], metrics["n_prompts"] = len(sound.prompts), work.design.n_prompts
    metrics["n_wordings"] = n_wordings
    metrics["n_permutations"] = section.n_permutations
    write_metrics(metrics, root / "metrics" / "relate.json")
    rows = layer_rows(found)
    write_plot(rows, root / "metrics" / "relate_layers.csv")
    write_plot(descriptor_rows(found), root / "metrics" / "relate_descriptors.csv")
    log_runs(root, "relate", _logged(metrics, rows, params))


def heard(work: Workspace, section: Relate) -> Sound:
    """Return the descriptors of every clip and what matches, under relabellings of whole wordings."""
    clips = clip_table(work)
    table = acoustic_table(work).loc[clips["clip_id"]]
    prompts = clips["prompt"].to_numpy()
    design = work.design
    affect = read_table(PROMPTS, work.root / "data" / "prompts.csv").iloc[work.rows]
    valence, arousal = (
        np.array([np.nan_to_num(affect[name].to_numpy(np.float64)[design.labels == k]).mean()
                  for k in range(design.n_classes)])
        for name in ("valence", "arousal")
    )  # fmt: skip
    rng = rng_for("relate", "match", section.seed)
    labels = relabellings(design.unit_labels("wording"), section.n_permutations, rng)
    of_clip = design.wordings[prompts]
    judged = table[list(DESCRIPTORS)].to_numpy(dtype=np.float64)
    matched = matches(judged, valence, arousal, labels[:, of_clip])
    descriptors = table[list(NAMES)].to_numpy(dtype=np.float64)
    return Sound(descriptors, prompts, sites.acoustics(work), matched, labels)


def _families(work: Workspace) -> dict[str, list[SiteGram]]:
    found = (
        sites.layers(work, twin=False),
        sites.layers(work, twin=True),
        [sites.tokens(work)],
        [sites.embedding(work, "text")],
        [sites.embedding(work, "bow")],
    )
    return dict(zip(FAMILIES, found, strict=True))


def relate(name: str, places: list[SiteGram], sound: Sound, work: Workspace, section: Relate) -> Related:
    """Return one family's distances, matched effect and regressions; all families share relabellings."""
    design = work.design
    of_clip = design.wordings[sound.prompts]
    units = wording_grams(places, design.wordings)
    heard_units = wording_grams([sound.site], design.wordings)[0]
    text = None if name == "text" else wording_grams([sites.embedding(work, "text")], design.wordings)[0]
    labels = design.unit_labels("wording")
    sizes = np.bincount(design.wordings)
    distance = distance_tests(
        units, heard_units, text, labels, sizes, section.n_permutations,
        rng_for("relate", "mantel", section.seed),
    )  # fmt: skip
    by_clip = len(places[0].prompts) == len(sound.prompts)
    matched = matched_test(places, sound.matched.matched, of_clip, sound.labels) if by_clip else None
    folds = group_folds(np.arange(len(labels)), section.n_folds, rng_for("relate", "folds", section.seed))
    between, within = descriptor_tests(
        places, units, sound.descriptors, of_clip, folds, sizes, section.ridge, section.n_permutations,
        rng_for("relate", "regression", section.seed),
    )  # fmt: skip
    return Related(places, distance, matched, between, within)


def match_metrics(sound: Sound, work: Workspace, section: Relate) -> dict[str, Any]:
    """Return the share of clips that clearly match, beside the share that relabelled wordings give."""
    share = sound.matched.share
    design = work.design
    counts = resamples(design, "wording", section.n_bootstrap, rng_for("relate", "bootstrap", section.seed))
    per_prompt = np.bincount(sound.prompts, sound.matched.matched[0]) / np.bincount(sound.prompts)
    low, high = interval(class_means(per_prompt, design.labels, counts), section.confidence)
    return {
        "acoustic_match": float(share[0]),
        "acoustic_match_low": float(low),
        "acoustic_match_high": float(high),
        "acoustic_match_chance": float(share[1:].mean()),
        "acoustic_match_p": float(p_values(share)),
        "acoustic_match_by_emotion": {
            name: float(value)
            for name, value in zip(design.emotions, sound.matched.by_emotion[0], strict=True)
        },
    }


def _metrics(found: dict[str, Related]) -> dict[str, Any]:
    """Return the few numbers that a reader of `dvc metrics diff` needs."""
    layers, twin = found["layers"], found["twin_layers"]
    distance = layers.distance
    best = int(distance.simple.estimate.argmax())
    metrics: dict[str, Any] = {
        "distance": {
            "best": layers.sites[best].site,
            "r": float(distance.simple.estimate[best]),
            "p": float(distance.simple.p_max[best]),
            "twin_r": float(twin.distance.simple.estimate[best]),
            "tokens_r": float(found["tokens"].distance.simple.estimate[0]),
            "text_r": float(found["text"].distance.simple.estimate[0]),
        }
    }
    for name, other in (("given_text", distance.partial), ("within_emotion", distance.within_emotion)):
        if other is not None:
            metrics["distance"][f"r_{name}"] = float(other.estimate[best])
            metrics["distance"][f"p_{name}"] = float(other.p_max[best])
    for name, said, row in (("twin_layers", "twin", best), ("words", "words", 0)):
        within = found[name].distance.within_emotion
        if within is not None:
            metrics["distance"][f"{said}_r_within_emotion"] = float(within.estimate[row])
    if layers.matched is not None:
        effect = layers.matched.effect
        top = int(effect.estimate.argmax())
        metrics["matched"] = {
            "best": layers.sites[top].site,
            "effect": float(effect.estimate[top]),
            "effect_all": float(layers.matched.effect_all[top]),
            "effect_by_choice": float(layers.matched.null[top]),
            "p": float(effect.p_max[top]),
        }
        if twin.matched is not None:
            metrics["matched"]["twin_effect"] = float(twin.matched.effect.estimate[top])
    for name, kind in (("between_wordings", "between"), ("within_prompts", "within")):
        if getattr(layers, kind) is not None:
            metrics[name] = _best_descriptor(found, kind)
    return metrics


def _best_descriptor(found: dict[str, Related], kind: str) -> dict[str, Any]:
    """Return the best-read descriptor with its baselines; the p is maxT over layers x descriptors."""
    table: Tested = getattr(found["layers"], kind)
    layer = int(table.estimate.mean(axis=1).argmax())
    place, column = np.unravel_index(table.estimate.argmax(), table.estimate.shape)
    best: dict[str, Any] = {
        "best": f"{NAMES[column]} at {found['layers'].sites[place].site}",
        "r2": float(table.estimate[place, column]),
        "p": float(table.p_max[place, column]),
        "n_significant": int((table.p_max < 0.05).any(axis=0).sum()),
        "mean_best": found["layers"].sites[layer].site,
        "mean_r2": float(table.estimate[layer].mean()),
    }
    for name, said in (("twin_layers", "twin"), ("tokens", "tokens"), ("text", "text"), ("words", "words")):
        other: Tested | None = getattr(found[name], kind)
        if other is not None:
            same, mean_at = (place, layer) if name == "twin_layers" else (0, 0)
            best[f"{said}_r2"] = float(other.estimate[same, column])
            best[f"{said}_mean_r2"] = float(other.estimate[mean_at].mean())
    return best


def layer_rows(found: dict[str, Related]) -> pd.DataFrame:
    """Return one row per place: what metrics/relate_layers.csv holds."""
    rows = []
    for family, related in found.items():
        for i, site in enumerate(related.sites):
            row = {**_place(family, site.site), **_tested("mantel", related.distance.simple, i)}
            row |= _tested("mantel_within_emotion", related.distance.within_emotion, i)
            row |= _tested("mantel_given_text", related.distance.partial, i)
            matched = related.matched
            row["effect_all"] = pd.NA if matched is None else matched.effect_all[i]
            row |= _tested("effect_matched", None if matched is None else matched.effect, i)
            row["effect_by_choice"] = pd.NA if matched is None else matched.null[i]
            rows.append(row)
    return pd.DataFrame(rows)


def descriptor_rows(found: dict[str, Related]) -> pd.DataFrame:
    """Return one row per place and descriptor: what metrics/relate_descriptors.csv holds."""
    rows = []
    for family, related in found.items():
        for i, site in enumerate(related.sites):
            for j, descriptor in enumerate(NAMES):
                row = {**_place(family, site.site), "descriptor": descriptor}
                row |= _tested("r2", related.between, (i, j))
                row |= _tested("r2_within_prompt", related.within, (i, j))
                rows.append(row)
    return pd.DataFrame(rows)


def _place(family: str, site: str) -> dict[str, object]:
    hookpoint, layer, half = sites.place_of(site) if "layers" in family else (site, pd.NA, "")
    model = "twin" if family.startswith("twin") else "model"
    return {"family": family, "site": hookpoint, "layer": layer, "half": half, "model": model}


def _tested(name: str, found: Tested | None, at: int | tuple[int, int]) -> dict[str, object]:
    if found is None:
        return {name: pd.NA, f"{name}_p": pd.NA, f"{name}_p_maxt": pd.NA}
    return {name: found.estimate[at], f"{name}_p": found.p[at], f"{name}_p_maxt": found.p_max[at]}


def _logged(metrics: dict[str, Any], rows: pd.DataFrame, params: Params) -> Run:
    """Return the MLflow run: a child per family with its curves over places."""
    children = []
    for family, group in rows.groupby("family", sort=False):
        curves = {
            name: [float(value) for value in group[name]]
            for name in ("mantel", "mantel_p_maxt", "effect_matched")
            if group[name].notna().all()
        }
        children.append(Run(f"relate/{family}", curves=curves))
    numbers = {"acoustic_match": float(metrics["acoustic_match"])}
    numbers |= {
        f"{group}.{key}": float(value)
        for group, values in metrics.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if isinstance(value, (int, float))
    }
    described = {"relate": vars(params.relate), "model": vars(params.model)}
    return Run("relate", described, numbers, children=children)
