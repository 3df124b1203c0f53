"""Stage `verdicts`: verdicts of the pipeline on models whose truth is known, and what stands beside them.

Each cell (model, prompt set, generation seed) runs in its own process and workspace. Finished cells are
stored, so that an interrupted run resumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.calibration.truth import CUT_LAYERS, TRUTH, WHERE_CUT, judged
from moodlens.compute.pool import run_tasks
from moodlens.decision.sentences import MORE_ACCESSIBLE
from moodlens.params.calibration import CalibrationParams, VerdictsParams
from moodlens.stages.calibrate.cells import Cell, cells_of, measured
from moodlens.store.tables import write_plot

USE = "use"
SOURCES = {"source_music": "music", "source_memory": "memory", "source_reading": "reading"}
FINDING = "finding: "
"""Begins the rung of the rows on null-text states; the reader follows."""
CLAIMED, NOT_CLAIMED = "claimed", "not claimed"
COLUMNS = [
    "model", "prompts", "seed", "rung", "verdict", "truth", "mark",
    "accuracy", "p", "share", "low", "high", "donor",
]  # fmt: skip
SHARE_COLUMNS = ["model", "prompts", "seed", "step_s", "quantity", "share", "low", "high", "n_units"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One cell with the parameters of all."""

    cell: Cell
    section: VerdictsParams


def run(params: CalibrationParams, home: Path) -> None:
    """Write calibration/verdicts.csv and memory_share.csv and print what was wrong.

    Finished cells are used again.
    """
    section = params.verdicts
    tasks = [Task(cell, section) for cell in cells_of(section, home)]
    workers = params.compute.workers
    parts = run_tasks(rows_of_task, tasks, workers=workers, threads=1, label="verdicts", unit="cell")
    rows = [row for verdicts, _ in parts for row in verdicts]
    shares = [row for _, shares in parts for row in shares]
    write_plot(pd.DataFrame(rows, columns=COLUMNS), home / "verdicts.csv")
    write_plot(pd.DataFrame(shares, columns=SHARE_COLUMNS), home / "memory_share.csv")
    for row in rows:
        if row["mark"] == "wrong":
            where = f"{row['model']}, {row['prompts']}, seed {row['seed']}"
            print(f"wrong: {where}: {row['rung']} {row['verdict']}")


def rows_of_task(task: Task) -> tuple[list[Row], list[Row]]:
    """Return the rows of verdicts.csv and of memory_share.csv of one cell, run now or finished before."""
    metrics = measured(task.cell, task.section)
    return rows_of(task.cell, metrics), share_rows(task.cell, metrics)


def rows_of(cell: Cell, metrics: dict[str, Any]) -> list[Row]:
    """Return a row per rung, one for the naive pipeline, and those of the finding and its controls."""
    rungs, sources = metrics["decide"]["rungs"], metrics["forks"].get("main", {}).get("sources", {})
    verdicts = {name: rung["verdict"] for name, rung in rungs.items()}
    places = metrics.get("places")
    found = None if places is None else _where(places)
    if found is not None:
        verdicts[WHERE_CUT] = found["verdict"]
    about = {"model": cell.model, "prompts": cell.prompts, "seed": cell.seed}
    rows: list[Row] = []
    marks = {row.rung: row for row in judged(cell.model, verdicts) if row.rung != USE or cell.use}
    for rung in dict.fromkeys((*marks, *(name for name in SOURCES if name in verdicts))):
        numbers: Row = rungs.get(rung, {})
        if rung in SOURCES:
            numbers = sources.get(SOURCES[rung], {})
        if rung == WHERE_CUT:
            numbers = found or {}
        if rung == USE:
            numbers = {**numbers, "share": numbers.get("effect")}
        known = vars(marks[rung]) if rung in marks else {"rung": rung, "verdict": verdicts[rung], "mark": ""}
        measures = {name: numbers.get(name) for name in ("accuracy", "p", "share", "low", "high", "donor")}
        rows.append({**about, **known, **measures})
    naive = metrics["naive"]
    p = max(naive["p_t"], naive["p_probe"])
    truth = TRUTH[cell.model].get("music")
    said = {"rung": "naive", "verdict": naive["says"], "truth": truth, "mark": ""}
    rows.append({**about, **said, "accuracy": naive["accuracy"], "p": p})
    return rows + [{**about, **row} for row in _finding_rows(cell, metrics)]


def _where(places: Sequence[Row]) -> Row:
    """Return the verdict on memory in the layers whose text path is cut in organism-memory-cut.

    It is `weak` if one of these layers passes maxT over layers and windows with a share that weak needs.
    """
    cut = [row for row in places if row["place"] in {f"layer {layer}" for layer in range(CUT_LAYERS)}]
    passed = [row for row in cut if row["p"] < ALPHA and row["share"] >= LEAST_SHARE]
    best = max(passed or cut, key=lambda row: row["share"])
    verdict = "weak" if passed else "undecided"
    return {"verdict": verdict, **{name: best[name] for name in ("p", "share", "low", "high", "donor")}}


ALPHA, LEAST_SHARE = 0.05, 0.1


def _finding_rows(cell: Cell, metrics: dict[str, Any]) -> list[Row]:
    """Return whether the finding on null-text states is claimed of the model and of the negative controls."""
    if not cell.finding:
        return []
    finding = metrics["decide"]["findings"]["null_text"]
    says = CLAIMED if finding["sentence"] == MORE_ACCESSIBLE else NOT_CLAIMED
    few_shot = metrics["few_shot"]
    of_model = {"rung": f"{FINDING}{cell.model}", "verdict": says, "mark": ""}
    rows: list[Row] = [{**of_model, "accuracy": few_shot["area"], "p": few_shot["p"]}]
    for name, control in metrics["controls"].items():
        claimed = control["claimed"]
        verdict = CLAIMED if claimed else NOT_CLAIMED
        mark = "wrong" if claimed else "right"
        row = {"rung": f"{FINDING}{name}", "verdict": verdict, "truth": False, "mark": mark}
        rows.append({**row, "accuracy": control["area"], "p": control["p"]})
    return rows


def share_rows(cell: Cell, metrics: dict[str, Any]) -> list[Row]:
    """Return a row per share of memory: recovered by forks, and by ablation of the cache."""
    if "memory_share" not in metrics:
        return []
    measured_here = metrics["memory_share"]
    about = {
        "model": cell.model,
        "prompts": cell.prompts,
        "seed": cell.seed,
        "step_s": measured_here["step_s"],
    }
    return [
        {**about, "quantity": name, **share, "n_units": measured_here["n_units"]}
        for name, share in measured_here["shares"].items()
    ]
