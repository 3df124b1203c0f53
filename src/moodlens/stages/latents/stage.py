"""Stage `latents`: compares SAE latents with simpler units and says which SAE may become champion."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.backends import catalog
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.recorded import recorded_weights
from moodlens.base.errors import ContractError, UsageError, must
from moodlens.contracts.tables import LATENTS
from moodlens.latents.evidence import sae_overview_of
from moodlens.params.pipeline import Latents, Params
from moodlens.stages.latents.opening import open_site
from moodlens.stages.latents.site import SiteResults, measure_site
from moodlens.stages.latents.tables import COUNTS, TOP, count_rows, latent_table, top_table
from moodlens.store.run_record import Run
from moodlens.store.tables import read_metrics, write_metrics, write_plot, write_table
from moodlens.workspace.design import open_workspace

BESIDE = ("untrained_sae", "dimensions", "kmeans", "words", "twin_sae")
"""Kinds of unit whose selective count is in the metrics; the counts of all kinds are in the CSV."""


def run(params: Params, root: Path) -> Run | None:
    """Write metrics/latents.json, sae_overview.json, tables and data/latents.parquet; return the run.

    None if no SAE was trained.
    """
    trained = read_metrics(root / "metrics" / "sae.json")
    if not trained.get("trained"):
        print("latents: no SAE was trained, nothing to analyse (see metrics/sae.json)")
        _write(root, trained, {"sites": {}, "trained": False}, [], [], [])
        return None
    import torch

    torch.set_num_threads(params.compute.threads)
    work = open_workspace(root)
    backend = catalog.load(params.model, root, recorded=recorded_weights(root))
    if not isinstance(backend, MusicgenBackend):
        rule = "be weights in transformers form, into which an SAE can be spliced"
        advice = "Convert the folder with `moodlens models convert`"
        raise UsageError(must("model.id", rule, params.model.id, where="params.yaml", next_step=advice))
    twin = backend.random_twin(params.embed.twin_seed)
    sites: dict[str, dict[str, Any]] = {}
    tables, counts, tops = [], [], []
    for site, of_sae in _sites(trained).items():
        results = measure_site(open_site(work, site, of_sae["chosen"], params), backend, twin)
        section = params.latents
        tables.append(latent_table(results))
        counts += count_rows(results)
        tops.append(top_table(results, root, backend.info.frame_rate_hz, section.fdr, section.n_shown))
        figures = figures_of(results)
        sites[site] = figures | {"champion_gate": passes(of_sae["fvu"], figures, section)}
    _write(root, trained, {"sites": sites, "trained": True}, tables, counts, tops)
    return _run_of(sites, params)


def _sites(trained: Mapping[str, Any]) -> Mapping[str, Any]:
    sites = trained.get("sites")
    if not isinstance(sites, Mapping) or not sites:
        advice = "Run `dvc repro sae`"
        raise ContractError(must("metrics/sae.json", "hold sites", "none", next_step=advice))
    return sites


def figures_of(results: SiteResults) -> dict[str, Any]:
    """Return the numbers of a site for metrics/latents.json.

    Counts of selective units describe the site. What a claim may rest on is in the nested numbers.
    """
    own, transfer, units = results.units["sae"].counts, results.transfer, results.units
    figures: dict[str, Any] = {
        "n_selective": own.n_selective,
        "n_selective_least": own.n_selective_least,
        "n_over_2": own.n_over_2,
        "n_over_4": own.n_over_4,
        "n_latents": own.n_units,
        "n_prompts": results.design.n_prompts,
        "n_wordings": len(results.design.unit_labels("wording")),
        "shuffled_over_2": results.shuffled["n_over_2"],
        "shuffled_selective": results.shuffled["n_selective"],
        **{f"{name}_selective": units[name].counts.n_selective for name in BESIDE if name in units},
        **results.stability.shares,
        "held_out_chosen": transfer.n_chosen,
        "held_out_kept": transfer.kept,
        "held_out_chance": transfer.chance,
        **results.accuracy,
        "no_matched_control": results.no_control,
        **results.claims,
        **results.null_numbers,
    }
    if results.losses:
        nats = results.losses
        figures |= {f"nats_{name}": value for name, value in nats.items()}
        figures["loss_recovered"] = (nats["mean"] - nats["sae"]) / (nats["mean"] - nats["original"])
    return figures


def passes(fvu: float, figures: Mapping[str, Any], section: Latents) -> bool:
    """Return whether a version may become champion, by FVU, selective latents and stability over seeds."""
    stable = figures.get("stable_70", 0.0) - figures.get("stable_70_random", 0.0)
    return (
        fvu <= section.champion_fvu
        and figures["n_selective"] >= section.champion_selective
        and stable >= section.champion_stability
    )


def _run_of(sites: Mapping[str, Mapping[str, Any]], params: Params) -> Run:
    children = [
        Run(
            f"latents/{site}",
            metrics=_numbers(figures),
            tags={"sae.site": site},
        )
        for site, figures in sites.items()
    ]
    numbers = {f"{site}.n_selective": float(figures["n_selective"]) for site, figures in sites.items()}
    return Run("latents", {"latents": vars(params.latents)}, numbers, children=children)


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers of a site, and the means over its seeds."""
    numbers = {key: float(value) for key, value in figures.items() if isinstance(value, (int, float))}
    over_seeds = {key: value for key, value in figures["seeds"].items() if isinstance(value, Mapping)}
    return numbers | {f"seeds.{key}": float(value["mean"]) for key, value in over_seeds.items()}


def _write(
    root: Path,
    trained: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tables: list[pd.DataFrame],
    counts: list[dict[str, Any]],
    tops: list[pd.DataFrame],
) -> None:
    empty = pd.DataFrame({name: [] for name in LATENTS.names})
    whole = pd.concat(tables, ignore_index=True) if tables else empty
    write_table(whole, LATENTS, root / "data" / "latents.parquet")
    write_metrics(metrics, root / "metrics" / "latents.json")
    write_metrics(sae_overview_of(trained, metrics), root / "metrics" / "sae_overview.json")
    write_plot(pd.DataFrame(counts, columns=list(COUNTS)), root / "metrics" / "latents_counts.csv")
    shown = pd.concat(tops, ignore_index=True) if tops else pd.DataFrame(columns=list(TOP))
    write_plot(shown, root / "metrics" / "latents_top.csv")
