"""Stage `verdicts`: what the whole pipeline says of models whose truth is known."""

from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.calibration.truth import judged
from moodlens.compute.progress import progress
from moodlens.contracts.calibration import CalibrationParams
from moodlens.stages.calibrate.twins import verdict_on_twin
from moodlens.store.tables import write_plot


def run(params: CalibrationParams, home: Path) -> None:
    """Write calibration/verdicts.csv; verdicts of an interrupted run are used again."""
    section = params.verdicts
    todo = [(model, seed) for seed in section.seeds for model in section.models]
    rows: list[dict[str, object]] = []
    with progress("verdicts", "run", len(todo), 0) as advance:
        for model, seed in todo:
            rows += rows_of(model, seed, verdict_on_twin(home.parent, home, model, seed))
            advance()
    write_plot(pd.DataFrame(rows), home / "verdicts.csv")


def rows_of(model: str, seed: int, decide: dict[str, Any]) -> list[dict[str, object]]:
    """Return a row per rung, and one for the naive pipeline."""
    verdicts = {
        name: rung["verdict"] for name, rung in decide.items() if isinstance(rung, dict) and "verdict" in rung
    }
    rows: list[dict[str, object]] = []
    for row in judged(model, verdicts):
        rung = decide.get(row.rung, {})
        read = {"accuracy": rung.get("accuracy"), "p": rung.get("p")}
        said = {"rung": row.rung, "verdict": row.verdict, "truth": row.truth, "mark": row.mark}
        rows.append({"model": model, "seed": seed, **said, **read})
    naive = decide["naive"]
    said = {"rung": "naive", "verdict": naive["says"], "truth": model == "organism", "mark": ""}
    p = max(naive["p_t"], naive["p_probe"])
    rows.append({"model": model, "seed": seed, **said, "accuracy": naive["accuracy"], "p": p})
    return rows
