"""Stage `verdicts`: what the whole pipeline says of models whose truth is known.

Twins run side by side, one process each. What is finished is kept: an interrupted run goes on from there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.calibration.truth import judged
from moodlens.compute.pool import run_tasks
from moodlens.contracts.calibration import CalibrationParams
from moodlens.stages.calibrate.twins import verdict_on_twin
from moodlens.store.tables import write_plot


@dataclass(frozen=True)
class Run:
    """One twin at one generation seed."""

    home: Path
    model: str
    seed: int


def run(params: CalibrationParams, home: Path) -> None:
    """Write calibration/verdicts.csv and print what was wrong; finished verdicts are used again."""
    section = params.verdicts
    todo = [Run(home, model, seed) for seed in section.seeds for model in section.models]
    workers = params.compute.workers
    found = run_tasks(rows_of_run, todo, workers=workers, threads=1, label="verdicts", unit="run")
    rows = [row for part in found for row in part]
    write_plot(pd.DataFrame(rows), home / "verdicts.csv")
    for row in rows:
        if row["mark"] == "wrong":
            print(f"wrong: {row['model']}, seed {row['seed']}: {row['rung']} {row['verdict']}")


def rows_of_run(todo: Run) -> list[dict[str, object]]:
    """Return the rows of one twin, run now or finished before."""
    return rows_of(todo.model, todo.seed, verdict_on_twin(todo.home.parent, todo.home, todo.model, todo.seed))


def rows_of(model: str, seed: int, decide: dict[str, Any]) -> list[dict[str, object]]:
    """Return a row per rung, and one for the naive pipeline."""
    verdicts = {
        name: rung["verdict"] for name, rung in decide.items() if isinstance(rung, dict) and "verdict" in rung
    }
    factors = decide.get("factors", {})
    said_of = {name: found["verdict"] for name, found in factors.items()}
    rows: list[dict[str, object]] = []
    for row in judged(model, verdicts, said_of):
        rung, told = decide.get(row.rung, {}), factors.get(row.rung.removeprefix("state: "), {})
        read = {"accuracy": rung.get("accuracy"), "r2": told.get("r2"), "p": rung.get("p")}
        if told:
            read["p"] = max(told["p"], told["prompted_p"])
        said = {"rung": row.rung, "verdict": row.verdict, "truth": row.truth, "mark": row.mark}
        rows.append({"model": model, "seed": seed, **said, **read})
    naive = decide["naive"]
    said = {"rung": "naive", "verdict": naive["says"], "truth": model == "organism", "mark": ""}
    p = max(naive["p_t"], naive["p_probe"])
    rows.append({"model": model, "seed": seed, **said, "accuracy": naive["accuracy"], "r2": None, "p": p})
    return rows
