"""Stage `sae`: trains sparse autoencoders of text tokens and decoder layers if the gates of `decide` pass.

A closed gate is a valid result: the stage writes the reason, exits with success, and so do the stages after
it. With `sae.override_gate` it trains regardless; metrics and report then state that the gate was overridden.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.backends import catalog
from moodlens.backends.recorded import recorded_weights
from moodlens.base.errors import ContractError, must
from moodlens.compute.pool import run_tasks
from moodlens.params.pipeline import Params
from moodlens.stages.sae.task import SaeTask, TrainedSae, train_one
from moodlens.stages.sae.texts import write_rows
from moodlens.store.run_record import Run, stage_run
from moodlens.store.tables import read_metrics, write_metrics, write_plot
from moodlens.workspace.design import open_workspace
from moodlens.workspace.sae_rows import TEXT_SITES, require_captured

NOTE = "not_trained.txt"
"""File that stands alone in data/sae and models/sae behind a closed gate: DVC warns of empty folders."""
CURVE = ("site", "name", "epoch", "train_loss", "val_fvu", "val_mse", "val_l0", "dead")


def run(params: Params, root: Path) -> Run | None:
    """Write data/sae, models/sae, metrics/sae.json and its curves; return the run.

    None if a closed gate left nothing to train.
    """
    gate = gate_of(read_metrics(root / "metrics" / "decide.json"))
    metrics: dict[str, Any] = {
        "gate_passed": gate["passed"],
        "gate_overridden": params.sae.override_gate and not gate["passed"],
        "gates_failed": ", ".join(gate["failed"]),
    }
    folders = [root / "data" / "sae", root / "models" / "sae"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NOTE).unlink(missing_ok=True)
    if not gate["passed"] and not params.sae.override_gate:
        reason = f"not trained, a gate of decide is closed ({metrics['gates_failed']})"
        for folder in folders:
            (folder / NOTE).write_text(f"{reason}\n", encoding="utf-8")
        print(f"sae: {reason}")
        _write(root, {**metrics, "trained": False, "sites": {}}, [])
        return None
    require_captured(root, params.sae.sites)
    trained = train_sites(params, root)
    for checkpoint in tasks_of(params, root)[0].checkpoints.glob("*"):
        checkpoint.unlink()
    by_site = {site: [sae for sae in trained if sae.site == site] for site in params.sae.sites}
    sites = {site: summary_of(saes) for site, saes in by_site.items()}
    metrics |= {"trained": True, "sites": sites}
    _write(root, metrics, trained)
    children = [run_of(site, by_site[site], figures, params) for site, figures in sites.items()]
    return stage_run("sae", params, {}, children)


def gate_of(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"passed": bool, "failed": names} of metrics/decide.json.

    Raises:
        ContractError: the file has no gates.
    """
    gates = decision.get("gates")
    if not isinstance(gates, Mapping) or "passed" not in gates:
        advice = "Run `dvc repro decide`"
        raise ContractError(
            must("metrics/decide.json", "hold the gates of SAE training", "none", next_step=advice)
        )
    return {"passed": bool(gates["passed"]), "failed": [str(name) for name in gates.get("failed", [])]}


def train_sites(params: Params, root: Path) -> list[TrainedSae]:
    """Write the rows and train all SAEs, `compute.workers` at a time."""
    import torch

    torch.set_num_threads(params.compute.threads)
    work = open_workspace(root)
    backend = catalog.load(params.model, root, recorded=recorded_weights(root))
    write_rows(work, params, backend, backend.random_twin(params.embed.twin_seed))
    del backend
    return run_tasks(
        train_one,
        tasks_of(params, root),
        workers=params.compute.workers,
        threads=params.compute.threads,
        label="sae",
        unit="SAE",
    )


def tasks_of(params: Params, root: Path) -> list[SaeTask]:
    """Return one task per site and seed, and one per site for the untrained twin; layers (longest) first."""
    section = params.sae
    sites = sorted(section.sites, key=lambda site: site in TEXT_SITES)
    return [
        SaeTask(root, section, site, number, twin, params.compute.threads)
        for site in sites
        for twin in ((False, True) if section.twin else (False,))
        for number in range(1 if twin else section.n_seeds)
    ]


def summary_of(trained: Sequence[TrainedSae]) -> dict[str, Any]:
    """Return the figures of a site: those of the seed with the lowest validation FVU.

    No emotion label takes part in that choice. `fvu_spread` is the largest minus the smallest test FVU of the
    seeds, `fvu_twin` the test FVU of the untrained twin's SAE.
    """
    seeds = [sae for sae in trained if sae.name != "twin"]
    best = min(seeds, key=lambda sae: sae.figures["fvu_val"])
    fvus = [sae.figures["fvu"] for sae in seeds]
    names = ("d_in", "d_sae", "n_rows", "fvu", "fvu_train", "mse", "mse_train", "l0", "dead")
    figures: dict[str, Any] = {name: best.figures[name] for name in names}
    figures |= {"chosen": best.name, "n_seeds": len(seeds), "fvu_spread": max(fvus) - min(fvus)}
    for sae in trained:
        if sae.name == "twin":
            figures["fvu_twin"] = sae.figures["fvu"]
    return figures


def run_of(site: str, trained: Sequence[TrainedSae], figures: Mapping[str, Any], params: Params) -> Run:
    """Return the run of a site: its chosen SAE, with a child run per seed and one for the twin."""

    def curves(sae: TrainedSae) -> dict[str, list[float]]:
        # the prefix separates curves from figures: MLflow refuses two values of one metric and step
        return {f"by_epoch.{key}": [row[key] for row in sae.curve] for key in CURVE[3:]}

    children = [
        Run(f"{site}/{sae.name}", metrics=sae.figures, curves=curves(sae), tags={"sae.name": sae.name})
        for sae in trained
    ]
    chosen = next(sae for sae in trained if sae.name == figures["chosen"])
    numbers = {key: value for key, value in figures.items() if isinstance(value, (int, float))}
    section = {"sae": vars(params.sae), "model": vars(params.model)}
    return Run(f"sae/{site}", section, numbers, curves(chosen), {"sae.site": site}, children)


def _write(root: Path, metrics: Mapping[str, Any], trained: Sequence[TrainedSae]) -> None:
    write_metrics(metrics, root / "metrics" / "sae.json")
    rows = [{"site": sae.site, "name": sae.name, **row} for sae in trained for row in sae.curve]
    write_plot(pd.DataFrame(rows, columns=list(CURVE)), root / "metrics" / "sae_curves.csv")
