"""Stage `probe`: how well linear probes predict emotion at each site from held-out prompts and wordings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from moodlens.params.pipeline import Params
from moodlens.probes.directions import direction_rows, gains_beyond
from moodlens.probes.family import ProbeSettings, nested_probe, probe_family, prompt_accuracies
from moodlens.probes.site_scores import PromptColumns, score_sites
from moodlens.probes.tables import RUNG_OF, TRANSFER_BESIDE, ProbeResults, metrics_of, plot_rows
from moodlens.probes.transfer import Transfer, transfer
from moodlens.stats.design import Design, Unit
from moodlens.stats.gram import SiteGram, prompt_grams
from moodlens.stats.permutation import p_values
from moodlens.stats.similarity import median_ranges, range_of_medians
from moodlens.stats.site_names import CLAIM_UNITS, unit_of
from moodlens.store.run_record import Run, stage_run
from moodlens.store.tables import write_metrics, write_plot
from moodlens.workspace.design import Workspace, open_workspace, prompt_table
from moodlens.workspace.sites import load_families
from moodlens.workspace.tempo import tempos
from moodlens.workspace.wording_baselines import company, nuisance


def run(params: Params, root: Path) -> Run:
    """Write metrics/probe.json, metrics/probe_layers.csv, metrics/probe_directions.csv; return the run."""
    section = params.probe
    work = open_workspace(root)
    settings = ProbeSettings.from_section(section)
    families = load_families(work, section.sites)
    readers = {"nuisance": nuisance(work)}
    if "text" in families:
        readers["company"] = company(work, params.prompts, section.seed)
    columns = prompt_columns(work)
    results = ProbeResults(
        design=work.design,
        settings=settings,
        families={
            name: {unit: probe_family(grams, work.design, unit, settings) for unit in units_of(name)}
            for name, grams in families.items()
        },
        by_prompt={
            name: prompt_accuracies(grams, work.design, settings)
            for name, grams in families.items()
            if name in RUNG_OF
        },
        readers={
            name: nested_probe(grams, work.design, "wording", settings)
            for name, grams in readers.items()
            if grams
        },
        scores={name: score_sites(grams, work.design, columns, settings) for name, grams in families.items()},
        gains=gains_beyond(families, work.design, settings),
        transfer=transfers(families, work, settings) if "text" in families else {},
    )
    metrics: dict[str, Any] = dict(metrics_of(results))
    if "acoustics" in section.sites:
        tempo, prompts = tempos(work)
        if len(np.unique(prompts)) == work.design.n_prompts:  # else the tempo was not measured of some prompt
            metrics["music"] |= tempo_metrics(tempo, prompts, work.design, settings)
    metrics["n_prompts"], metrics["n_emotions"] = work.design.n_prompts, work.design.n_classes
    metrics["chance"] = 1 / work.design.n_classes
    write_metrics(metrics, root / "metrics" / "probe.json")
    rows = plot_rows(results)
    write_plot(rows, root / "metrics" / "probe_layers.csv")
    angles = direction_rows(families, work.design, columns, section.seed)
    write_plot(angles, root / "metrics" / "probe_directions.csv")
    accuracies = {
        f"{RUNG_OF[name]}.accuracy": family[CLAIM_UNITS[name]].nested.accuracy
        for name, family in results.families.items()
        if name in RUNG_OF
    }
    return stage_run("probe", params, accuracies, _family_runs(results, rows))


def units_of(family: str) -> tuple[Unit, ...]:
    """Return the units by which a family is probed: wordings, and prompts where its check is by prompt."""
    return tuple(sorted({"wording", unit_of(family)}))


def transfers(
    families: Mapping[str, Sequence[SiteGram]], work: Workspace, settings: ProbeSettings
) -> dict[str, Transfer]:
    """Return how the text encoder and its baselines carry emotions from one prompt set to another."""
    sets = prompt_table(work)["set"].astype(str).tolist()
    return {
        name: transfer(
            prompt_grams(families[name])[0],
            work.design,
            sets,
            settings.ridge,
            settings.n_permutations,
            settings.seed,
        )
        for name in ("text", *TRANSFER_BESIDE)
        if name in families
    }


def tempo_metrics(
    tempo_bpm: Float[np.ndarray, " clip"],
    prompts: Int[np.ndarray, " clip"],
    design: Design,
    settings: ProbeSettings,
) -> dict[str, object]:
    """Return the difference in tempo between the fastest and the slowest emotion, with its own p.

    The emotions are those of the largest and the smallest median. They are chosen anew in every relabelling
    of whole wordings, so the choice is part of p. No rung requires anything of it.
    """
    spread, slow, fast = range_of_medians(tempo_bpm, design.labels[prompts])
    ranges = median_ranges(tempo_bpm, settings.relabellings(design, "wording")[:, prompts])
    return {
        "tempo_bpm": spread,
        "tempo_p": float(p_values(ranges)),
        "tempo_shuffled_bpm": float(ranges[1:].mean()),
        "tempo_slowest": design.emotions[slow],
        "tempo_fastest": design.emotions[fast],
    }


def prompt_columns(work: Workspace) -> PromptColumns:
    """Return valence, arousal and template of every emotional prompt."""
    table = prompt_table(work)
    return PromptColumns(
        table["valence"].to_numpy(dtype=np.float64),
        table["arousal"].to_numpy(dtype=np.float64),
        np.unique(table["template"].to_numpy(dtype=str), return_inverse=True)[1],
    )


def _family_runs(results: ProbeResults, rows: pd.DataFrame) -> list[Run]:
    """Return a run per family of sites with its accuracies, and in it a run per site."""
    family_runs = []
    for name, family in results.families.items():
        curves = {
            f"accuracy_by_{unit}": [site.accuracy for site in family[unit].sites] for unit in family
        } | {f"p_maxt_by_{unit}": [site.p_max for site in family[unit].sites] for unit in family}
        numbers = {f"best_by_{unit}": family[unit].best.accuracy for unit in family} | {
            f"accuracy_by_{unit}": family[unit].nested.accuracy for unit in family
        }
        tags = {"sites": ", ".join(site.site for site in family["wording"].sites)}
        own = rows[rows["family"] == name].select_dtypes("number")
        site_runs = [
            Run(scores.site, metrics={str(key): float(value) for key, value in row.dropna().items()})
            for scores, (_, row) in zip(results.scores[name], own.iterrows(), strict=True)
        ]
        family_runs.append(
            Run(f"probe/{name}", metrics=numbers, curves=curves, tags=tags, children=site_runs)
        )
    return family_runs
