"""Stage `summary`: the few numbers of the calibration that a reader of `dvc metrics diff` needs."""

import re
from pathlib import Path

import pandas as pd

from moodlens.contracts.calibration import CalibrationParams
from moodlens.store.tables import write_metrics


def run(_params: CalibrationParams, home: Path) -> None:
    """Write metrics/calibration.json of the main workspace."""
    rates, power = pd.read_csv(home / "rates.csv"), pd.read_csv(home / "power.csv")
    plain, verdicts = pd.read_csv(home / "plain_probe.csv"), pd.read_csv(home / "verdicts.csv")
    write_metrics(
        {
            "verdicts": verdict_counts(verdicts),
            "planted": planted(power),
            "type1": type1(rates),
            "naive": naive(rates, plain),
        },
        home.parent / "metrics" / "calibration.json",
    )


def type1(rates: pd.DataFrame) -> dict[str, object]:
    """Return how far the tests that carry a claim keep their level, over all tests, designs and ICCs."""
    claims = rates[rates["carries_claim"]]
    counted = claims["verdict"].value_counts()
    return {
        "n_cells": len(claims),
        "n_sims": int(claims["n_sims"].min()),
        "n_too_liberal": int(counted.get("too liberal", 0)),
        "n_conservative": int(counted.get("conservative", 0)),
        "largest_at_05": claims.loc[claims["level"] == 0.05, "rate"].max(),
        "mean_at_05": claims.loc[claims["level"] == 0.05, "rate"].mean(),
        "largest_at_025": claims.loc[claims["level"] == 0.025, "rate"].max(),
    }


def naive(rates: pd.DataFrame, plain: pd.DataFrame) -> dict[str, object]:
    """Return the error rates of the common, wrong tests at the largest ICC, worst design."""
    wrong = rates[~rates["carries_claim"] & (rates["icc"] == rates["icc"].max())]
    found: dict[str, object] = {
        key_of(str(name)): part["rate"].max() for name, part in wrong.groupby("test", sort=False)
    }
    found["plain_probe_accuracy"] = plain["accuracy"].max()
    return found


def key_of(name: str) -> str:
    """Return a name as a metrics key.

    >>> key_of("t-test, same-prompt pairs dropped")
    't_test_same_prompt_pairs_dropped'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def planted(power: pd.DataFrame) -> dict[str, object]:
    """Return how often the planted layer was found and "none" was said wrongly."""
    found: dict[str, object] = {}
    for row in power[power["what"] != "found"].to_dict("records"):
        found[key_of(f"{row['what']} by {row['unit']}")] = row["rate"]
    return found


def verdict_counts(verdicts: pd.DataFrame) -> dict[str, object]:
    """Return, per twin, on how many seeds every tested rung was right, and what the naive pipeline said."""
    counts: dict[str, object] = {}
    for model, part in verdicts.groupby("model", sort=False):
        rungs = part[part["rung"] != "naive"]
        right = (rungs["mark"] != "wrong").groupby(rungs["seed"]).all()
        says = part.loc[part["rung"] == "naive", "verdict"] == "encoded in the layers"
        counts[str(model)] = {
            "n_seeds": len(right),
            "right": int(right.sum()),
            "n_untested_rungs": int((rungs["mark"] == "untested").groupby(rungs["seed"]).sum().max()),
            "naive_says_encoded": int(says.sum()),
        }
    return counts
