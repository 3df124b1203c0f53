"""Stage `relate`: association of states with acoustics, beside text, tokens and the untrained twin."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import Unsupported
from moodlens.base.seeding import rng_for
from moodlens.contracts.tables import ACOUSTIC_NAMES
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
from moodlens.stats.permutation import p_values
from moodlens.stats.site_names import site_columns
from moodlens.store.run_record import Run, groups, stage_run
from moodlens.store.tables import write_metrics, write_plot
from moodlens.workspace.design import (
    Workspace,
    acoustic_table,
    clip_table,
    open_workspace,
    prompt_table,
    too_many_folds,
)
from moodlens.workspace.sites import acoustics as site_acoustics
from moodlens.workspace.sites import embedding, layers, tokens

FAMILIES = ("layers", "twin_layers", "tokens", "text", "words")
"""maxT corrects over the sites of one family."""
NAMES = ACOUSTIC_NAMES
"""The descriptors, which are the columns of the regression."""


@dataclass(frozen=True)
class Acoustics:
    """Descriptors of every clip, and which clips clearly match the requested emotion."""

    descriptors: np.ndarray  # (clip, descriptor), in the order of NAMES
    prompts: np.ndarray  # (clip,)
    site: SiteGram
    matched: Matches
    labels: np.ndarray  # (perm, wording) relabellings that `matched` was made under


@dataclass(frozen=True)
class FamilyRelation:
    """Results of one family of sites."""

    sites: list[SiteGram]
    distance: Distances
    matched: Matched | None  # None without a row per clip
    between: Tested
    within: Tested | None


def run(params: Params, root: Path) -> Run:
    """Write metrics/relate.json, relate_layers.csv, relate_descriptors.csv; return the run."""
    work = open_workspace(root)
    section = params.relate
    n_wordings = len(work.design.unit_labels("wording"))
    if fault := too_many_folds("relate", section.n_folds, n_wordings):
        raise Unsupported(fault)
    acoustics = load_acoustics(work, section)
    families = _families(work)
    results = {name: relate(name, sites, acoustics, work, section) for name, sites in families.items()}
    metrics = {**match_metrics(acoustics, work, section), **_metrics(results)}
    metrics["n_clips"], metrics["n_prompts"] = len(acoustics.prompts), work.design.n_prompts
    metrics["n_wordings"] = n_wordings
    metrics["n_permutations"] = section.n_permutations
    write_metrics(metrics, root / "metrics" / "relate.json")
    rows = layer_rows(results)
    write_plot(rows, root / "metrics" / "relate_layers.csv")
    write_plot(descriptor_rows(results), root / "metrics" / "relate_descriptors.csv")
    numbers = {"acoustic_match": metrics["acoustic_match"], **groups(metrics)}
    return stage_run("relate", params, numbers, _family_runs(rows))


def load_acoustics(work: Workspace, section: Relate) -> Acoustics:
    """Return the descriptors and matches of every clip, also under relabellings of whole wordings."""
    clips = clip_table(work)
    table = acoustic_table(work).loc[clips["clip_id"]]
    prompts = clips["prompt"].to_numpy()
    design = work.design
    affect = prompt_table(work)
    valence, arousal = (
        np.array([np.nan_to_num(affect[name].to_numpy(np.float64)[design.labels == k]).mean()
                  for k in range(design.n_classes)])
        for name in ("valence", "arousal")
    )  # fmt: skip
    rng = rng_for("relate", "match", section.seed)
    labels = design.relabellings("wording", section.n_permutations, rng)
    of_clip = design.wordings[prompts]
    judged = table[list(DESCRIPTORS)].to_numpy(dtype=np.float64)
    matched = matches(judged, valence, arousal, labels[:, of_clip])
    descriptors = table[list(NAMES)].to_numpy(dtype=np.float64)
    return Acoustics(descriptors, prompts, site_acoustics(work), matched, labels)


def _families(work: Workspace) -> dict[str, list[SiteGram]]:
    families = (
        layers(work, twin=False),
        layers(work, twin=True),
        [tokens(work)],
        [embedding(work, "text")],
        [embedding(work, "bow")],
    )
    return dict(zip(FAMILIES, families, strict=True))


def relate(
    name: str, sites: list[SiteGram], acoustics: Acoustics, work: Workspace, section: Relate
) -> FamilyRelation:
    """Return distances, matched effect and regressions of one family; all families share relabellings."""
    design = work.design
    of_clip = design.wordings[acoustics.prompts]
    units = wording_grams(sites, design.wordings)
    acoustic_units = wording_grams([acoustics.site], design.wordings)[0]
    text = None if name == "text" else wording_grams([embedding(work, "text")], design.wordings)[0]
    labels = design.unit_labels("wording")
    sizes = np.bincount(design.wordings)
    distance = distance_tests(
        units, acoustic_units, text, labels, sizes, section.n_permutations,
        rng_for("relate", "mantel", section.seed),
    )  # fmt: skip
    by_clip = len(sites[0].prompts) == len(acoustics.prompts)
    matched = matched_test(sites, acoustics.matched.matched, of_clip, acoustics.labels) if by_clip else None
    folds = group_folds(np.arange(len(labels)), section.n_folds, rng_for("relate", "folds", section.seed))
    between, within = descriptor_tests(
        sites, units, acoustics.descriptors, of_clip, folds, sizes, section.ridge, section.n_permutations,
        rng_for("relate", "regression", section.seed),
    )  # fmt: skip
    return FamilyRelation(sites, distance, matched, between, within)


def match_metrics(acoustics: Acoustics, work: Workspace, section: Relate) -> dict[str, Any]:
    """Return the share of clips that clearly match, beside the share under relabelled wordings."""
    share = acoustics.matched.share
    design = work.design
    counts = resamples(design, "wording", section.n_bootstrap, rng_for("relate", "bootstrap", section.seed))
    per_prompt = np.bincount(acoustics.prompts, acoustics.matched.matched[0]) / np.bincount(acoustics.prompts)
    low, high = interval(class_means(per_prompt, design.labels, counts), section.confidence)
    return {
        "acoustic_match": float(share[0]),
        "acoustic_match_low": float(low),
        "acoustic_match_high": float(high),
        "acoustic_match_chance": float(share[1:].mean()),
        "acoustic_match_p": float(p_values(share)),
        "acoustic_match_by_emotion": {
            name: float(value)
            for name, value in zip(design.emotions, acoustics.matched.by_emotion[0], strict=True)
        },
    }


def _metrics(results: dict[str, FamilyRelation]) -> dict[str, Any]:
    """Return the main numbers, as `dvc metrics diff` shows them."""
    own, twin = results["layers"], results["twin_layers"]
    distance = own.distance
    best = int(distance.simple.estimate.argmax())
    metrics: dict[str, Any] = {
        "distance": {
            "best": own.sites[best].site,
            "r": float(distance.simple.estimate[best]),
            "p": float(distance.simple.p_max[best]),
            "twin_r": float(twin.distance.simple.estimate[best]),
            "tokens_r": float(results["tokens"].distance.simple.estimate[0]),
            "text_r": float(results["text"].distance.simple.estimate[0]),
        }
    }
    for name, other in (("given_text", distance.partial), ("within_emotion", distance.within_emotion)):
        if other is not None:
            metrics["distance"][f"r_{name}"] = float(other.estimate[best])
            metrics["distance"][f"p_{name}"] = float(other.p_max[best])
    for name, prefix, row in (("twin_layers", "twin", best), ("words", "words", 0)):
        within = results[name].distance.within_emotion
        if within is not None:
            metrics["distance"][f"{prefix}_r_within_emotion"] = float(within.estimate[row])
    if own.matched is not None:
        effect = own.matched.effect
        top = int(effect.estimate.argmax())
        metrics["matched"] = {
            "best": own.sites[top].site,
            "effect": float(effect.estimate[top]),
            "effect_all": float(own.matched.effect_all[top]),
            "effect_by_choice": float(own.matched.null[top]),
            "p": float(effect.p_max[top]),
        }
        if twin.matched is not None:
            metrics["matched"]["twin_effect"] = float(twin.matched.effect.estimate[top])
    for name, kind in (("between_wordings", "between"), ("within_prompts", "within")):
        if getattr(own, kind) is not None:
            metrics[name] = _best_descriptor(results, kind)
    return metrics


def _best_descriptor(results: dict[str, FamilyRelation], kind: str) -> dict[str, Any]:
    """Return the best predicted descriptor with its baselines; p is maxT over layers x descriptors."""
    table: Tested = getattr(results["layers"], kind)
    layer = int(table.estimate.mean(axis=1).argmax())
    site, column = np.unravel_index(table.estimate.argmax(), table.estimate.shape)
    best: dict[str, Any] = {
        "best": f"{NAMES[column]} at {results['layers'].sites[site].site}",
        "r2": float(table.estimate[site, column]),
        "p": float(table.p_max[site, column]),
        "n_significant": int((table.p_max < 0.05).any(axis=0).sum()),
        "mean_best": results["layers"].sites[layer].site,
        "mean_r2": float(table.estimate[layer].mean()),
    }
    for name, prefix in (("twin_layers", "twin"), ("tokens", "tokens"), ("text", "text"), ("words", "words")):
        other: Tested | None = getattr(results[name], kind)
        if other is not None:
            same, mean_at = (site, layer) if name == "twin_layers" else (0, 0)
            best[f"{prefix}_r2"] = float(other.estimate[same, column])
            best[f"{prefix}_mean_r2"] = float(other.estimate[mean_at].mean())
    return best


def layer_rows(results: dict[str, FamilyRelation]) -> pd.DataFrame:
    """Return one row per site: metrics/relate_layers.csv."""
    rows = []
    for family, related in results.items():
        for i, site in enumerate(related.sites):
            row = {**site_columns(family, site.site), **_tested("mantel", related.distance.simple, i)}
            row |= _tested("mantel_within_emotion", related.distance.within_emotion, i)
            row |= _tested("mantel_given_text", related.distance.partial, i)
            matched = related.matched
            row["effect_all"] = pd.NA if matched is None else matched.effect_all[i]
            row |= _tested("effect_matched", None if matched is None else matched.effect, i)
            row["effect_by_choice"] = pd.NA if matched is None else matched.null[i]
            rows.append(row)
    return pd.DataFrame(rows)


def descriptor_rows(results: dict[str, FamilyRelation]) -> pd.DataFrame:
    """Return one row per site and descriptor: metrics/relate_descriptors.csv."""
    rows = []
    for family, related in results.items():
        for i, site in enumerate(related.sites):
            for j, descriptor in enumerate(NAMES):
                row = {**site_columns(family, site.site), "descriptor": descriptor}
                row |= _tested("r2", related.between, (i, j))
                row |= _tested("r2_within_prompt", related.within, (i, j))
                rows.append(row)
    return pd.DataFrame(rows)


def _tested(name: str, test: Tested | None, at: int | tuple[int, int]) -> dict[str, object]:
    if test is None:
        return {name: pd.NA, f"{name}_p": pd.NA, f"{name}_p_maxt": pd.NA}
    return {name: test.estimate[at], f"{name}_p": test.p[at], f"{name}_p_maxt": test.p_max[at]}


def _family_runs(rows: pd.DataFrame) -> list[Run]:
    """Return a run per family with its curves over sites."""
    runs = []
    for family, group in rows.groupby("family", sort=False):
        curves = {
            name: [float(value) for value in group[name]]
            for name in ("mantel", "mantel_p_maxt", "effect_matched")
            if bool(group[name].notna().to_numpy().all())
        }
        runs.append(Run(f"relate/{family}", curves=curves))
    return runs
