"""Stage `summary`: the few numbers of the calibration that a reader of `dvc metrics diff` needs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.calibration.truth import REACHED
from moodlens.params.calibration import CalibrationParams
from moodlens.store.tables import write_metrics

Rows = Sequence[dict[str, Any]]


def run(_params: CalibrationParams, home: Path) -> None:
    """Write metrics/calibration.json of the main workspace."""
    rates, plain, power, forks, verdicts, shares = (
        _rows(home / f"{name}.csv")
        for name in ("rates", "plain_probe", "power", "fork_power", "verdicts", "memory_share")
    )
    write_metrics(
        {
            "verdicts": verdict_counts(verdicts),
            "planted": planted(power),
            "forks": fork_power(forks),
            "memory_share": memory_shares(shares),
            "type1": type1(rates),
            "naive": naive(rates, plain),
        },
        home.parent / "metrics" / "calibration.json",
    )


def _rows(path: Path) -> Rows:
    rows: Any = pd.read_csv(path).to_dict("records")
    return rows


def type1(rates: Rows) -> dict[str, object]:
    """Return how far the tests that carry a claim keep their level, over all tests, designs and ICCs."""
    claims = [row for row in rates if row["carries_claim"]]
    by_level = {level: [row["rate"] for row in claims if row["level"] == level] for level in (0.05, 0.025)}
    verdicts = [row["verdict"] for row in claims]
    return {
        "n_cells": len(claims),
        "n_sims": min(row["n_sims"] for row in claims),
        "n_too_liberal": verdicts.count("too liberal"),
        "n_conservative": verdicts.count("conservative"),
        "largest_at_05": max(by_level[0.05]),
        "mean_at_05": sum(by_level[0.05]) / len(by_level[0.05]),
        "largest_at_025": max(by_level[0.025]),
    }


def naive(rates: Rows, plain: Rows) -> dict[str, object]:
    """Return the error rates of the common, wrong tests at the largest ICC, worst design."""
    rates = [row for row in rates if row["group"] != "nulls"]
    icc = max(row["icc"] for row in rates)
    worst: dict[str, object] = {"plain_probe_accuracy": max(row["accuracy"] for row in plain)}
    wrong = [row for row in rates if not row["carries_claim"] and row["icc"] == icc]
    for name in {row["test"] for row in wrong}:
        worst[key_of(name)] = max(row["rate"] for row in wrong if row["test"] == name)
    return worst


def key_of(name: str) -> str:
    """Return a name as a metrics key.

    >>> key_of("t-test, same-prompt pairs dropped")
    't_test_same_prompt_pairs_dropped'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def planted(power: Rows) -> dict[str, object]:
    """Return how often the planted layer was found, and how often a "none" verdict was wrong."""
    return {key_of(f"{row['what']} by {row['unit']}"): row["rate"] for row in power if row["what"] != "found"}


def fork_power(forks: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by share of memory and number of units, how often it is claimed and how often called none."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in forks:
        rates = found.setdefault(f"{row['share']:g}", {}).setdefault(str(row["n_units"]), {})
        name = "claimed" if row["verdict"] in REACHED else row["verdict"]
        rates[name] = rates.get(name, 0.0) + row["rate"]
    return found


def memory_shares(shares: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """Return the mean and the extremes over cells of every share of memory, by model and quantity."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in shares:
        found.setdefault(row["model"], {}).setdefault(row["quantity"], []).append(row["share"])
    return {
        model: {
            name: {"mean": sum(each) / len(each), "smallest": min(each), "largest": max(each)}
            for name, each in quantities.items()
        }
        for model, quantities in found.items()
    }


def verdict_counts(verdicts: Rows) -> dict[str, object]:
    """Return, per model, in how many cells no verdict was wrong, and what the naive pipeline said."""
    counts: dict[str, object] = {}
    for model in {row["model"] for row in verdicts}:
        own = [row for row in verdicts if row["model"] == model]
        marks = [
            [row["mark"] for row in own if (row["prompts"], row["seed"]) == cell and row["rung"] != "naive"]
            for cell in {(row["prompts"], row["seed"]) for row in own}
        ]
        says = [row["verdict"] for row in own if row["rung"] == "naive"]
        counts[model] = {
            "n_cells": len(marks),
            "right": sum("wrong" not in cell for cell in marks),
            "n_wrong_verdicts": sum(cell.count("wrong") for cell in marks),
            "n_untested_rungs": max(cell.count("untested") for cell in marks),
            "naive_says_encoded": says.count("encoded in the layers"),
        }
    return counts
