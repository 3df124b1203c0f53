"""Is the instrument right: its error rates, its power, and its verdicts on models whose truth is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moodlens.plots.calibration import PowerCurve, RateRow, error_rates, power_curves
from moodlens.plots.style import draw
from moodlens.plots.svg import figure_svg
from moodlens.report.numbers import count, interval, number, share
from moodlens.report.records import Cell, Figure, Finding, Grid

Row = Mapping[str, Any]

TITLES = {
    "ladder": "Error rates of the tests that carry the ladder",
    "state": "Error rates of the tests of the state and its factors",
    "metrics": "Error rates of the metrics beside PERMANOVA",
    "chapters": "Error rates of the tests in other chapters",
    "naive": "Error rates of common tests",
}
"""Group of tests -> the title of its figure."""
MARKS = {"right": "strong", "wrong": "void", "untested": ""}
WANTED = 0.8
RATES_CAPTION = (
    "Simulated clips without any emotion effect, which resemble each other within prompts by the ICC. "
    "Dotted: the level each test promises. A test whose bounds lie right of it cries wolf."
)
POWER_CAPTION = (
    "One layer, four emotions, two clips per prompt: how many prompts an effect needs to be found."
)
CONSERVATIVE = "Conservative tests lose power, not truth; the reason stands beside each."
NO_CLAIM = "“No” is right whether the verdict is none or undecided: neither claims the rung."

FACTOR_NOTE = (
    "A factor counts where null-text states tell it of the music and what is read out follows the prompt. "
    "The shuffled twin's states tell the tempo of their own music, which is not the prompt's."
)


def calibration_finding(
    found: Mapping[str, Any], rates: Sequence[Row], power: Sequence[Row], verdicts: Sequence[Row]
) -> Finding:
    """Return the calibration.

    Args:
        found: metrics/calibration.json.
        rates, power, verdicts: calibration/rates.csv, power.csv, verdicts.csv.
    """
    n_sims = int(max(row["n_sims"] for row in rates))
    note = f"{count(n_sims, 'dataset')} per point (plain probe: fewer); bars: exact 99 % binomial bounds"
    claims = [row for row in rates if row["carries_claim"]]
    figures = [
        *(
            _rates_figure([row for row in claims if row["group"] == group], True, note, group)
            for group in dict.fromkeys(row["group"] for row in claims)
        ),
        _rates_figure([row for row in rates if not row["carries_claim"]], False, note, "naive"),
        _power_figure([row for row in power if row["what"] == "found"]),
    ]
    factors = [row for row in verdicts if _is_factor(row)]
    rungs = [row for row in verdicts if not _is_factor(row)]
    grids = (
        _verdict_grid(rungs, "Verdicts on models whose truth is known", NO_CLAIM),
        *([_verdict_grid(factors, "Factors of the music in the state", FACTOR_NOTE)] if factors else []),
        _planted_grid(power),
        _rates_grid(rates),
    )
    return Finding(_summary(found), tuple(figures), grids)


def _summary(found: Mapping[str, Any]) -> str:
    type1, parts = found["type1"], []
    kept = type1["n_cells"] - type1["n_too_liberal"]
    parts.append(
        f"{kept} of {type1['n_cells']} error rates of tests that carry a claim keep their level "
        f"(mean {number(type1['mean_at_05'], 2)} at .05); the t-test on pairs of clips alarms in up to "
        f"{share(found['naive']['t_test_on_pairs_of_clips'])} of datasets without effect."
    )
    for model, counts in found["verdicts"].items():
        parts.append(
            f"{model}: right on {counts['right']} of {count(counts['n_seeds'], 'seed')}, where the naive "
            f"pipeline says “encoded” on {counts['naive_says_encoded']}."
        )
    return " ".join(parts)


def _rates_figure(rows: Sequence[Row], valid: bool, note: str, group: str) -> Figure:
    names = list(dict.fromkeys(row["test"] for row in rows))
    drawn = []
    for name in names:
        own = [row for row in rows if row["test"] == name]
        level = float(own[0]["level"])
        drawn.append(RateRow(name, level, *(_column(own, key) for key in ("rate", "low", "high", "icc"))))
    title = TITLES[group]
    height = 1.6 + 0.5 * len(names)
    figure = draw(lambda ax: error_rates(drawn, ax, valid=valid, title=title, note=note), height_in=height)
    said = ", ".join(f"{row.name} {number(float(row.rate.max()), 2)}" for row in drawn)
    alt = f"{title}, the largest of each: {said}. {note}."
    return Figure(figure_svg(figure, f"calibration-{group}", alt), RATES_CAPTION)


def _power_figure(rows: Sequence[Row]) -> Figure:
    curves = []
    for planted in sorted({float(row["share"]) for row in rows}):
        own = sorted((row for row in rows if row["share"] == planted), key=lambda row: row["n_per_emotion"])
        curves.append(
            PowerCurve(planted, *(_column(own, key) for key in ("n_per_emotion", "rate", "low", "high")))
        )
    n_sims = int(rows[0]["n_sims"])
    note = f"{count(n_sims, 'dataset')} per point; PERMANOVA by prompt at .05; bars: exact 99 % bounds"
    title = "Power by number of prompts"
    figure = draw(lambda ax: power_curves(curves, WANTED, ax, title=title, note=note))
    said = "; ".join(
        f"{share(curve.share)}: " + ", ".join(share(float(value)) for value in curve.power)
        for curve in curves
    )
    return Figure(figure_svg(figure, "calibration-power", f"{title}: {said}. {note}."), POWER_CAPTION)


def _column(rows: Sequence[Row], key: str) -> np.ndarray:
    return np.array([row[key] for row in rows], dtype=np.float64)


def _is_factor(row: Row) -> bool:
    return str(row["rung"]).startswith("state: ")


def _verdict_grid(rows: Sequence[Row], title: str, note: str) -> Grid:
    rungs = [rung for rung in dict.fromkeys(row["rung"] for row in rows) if rung != "naive"]
    table: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        table.setdefault((row["model"], row["seed"]), {})[row["rung"]] = row
    cells, naive = [], any(row["rung"] == "naive" for row in rows)
    for (model, seed), found in table.items():
        said = [
            Cell(f"{found[rung]['verdict']} (truth: {_truth(found[rung])})", MARKS[found[rung]["mark"]])
            for rung in rungs
        ]
        beside = [Cell(found["naive"]["verdict"])] if naive else []
        cells.append((Cell(f"{model}, seed {seed}"), *said, *beside))
    names = (rung.removeprefix("state: ").replace("_", " ") for rung in rungs)
    columns = ("model", *names, *(["naive pipeline"] if naive else []))
    return Grid(title, columns, tuple(cells), (note,))


def _truth(row: Row) -> str:
    return "yes" if row["truth"] else "no"


def _planted_grid(rows: Sequence[Row]) -> Grid:
    shown = [row for row in rows if row["what"] != "found"]
    cells = tuple(
        (
            Cell(f"{row['what']}, relabelled by {row['unit']}"),
            Cell(share(row["share"])),
            Cell(str(int(row["n_per_emotion"]))),
            Cell(share(row["rate"], 1)),
            Cell(interval(row["low"], row["high"], percent=True)),
        )
        for row in shown
    )
    columns = ("what", "planted share of variance", "prompts per emotion", "rate", "99 % bounds")
    return Grid(f"Planted effects, {count(int(shown[0]['n_sims']), 'dataset')} each", columns, cells)


def _rates_grid(rows: Sequence[Row]) -> Grid:
    """Return one row per test: its rates over all designs; calibration/rates.csv has each."""
    cells = []
    for name in dict.fromkeys(row["test"] for row in rows):
        own = [row for row in rows if row["test"] == name]
        ends = share(min(row["rate"] for row in own), 1), share(max(row["rate"] for row in own), 1)
        found = dict.fromkeys(row["verdict"] for row in own)
        reasons = list(dict.fromkeys(filter(None, (_reason(row) for row in own))))
        said = ", ".join(f"{verdict} in {sum(row['verdict'] == verdict for row in own)}" for verdict in found)
        cells.append(
            (
                Cell(name),
                Cell(number(own[0]["level"], 2)),
                Cell(str(len(own))),
                Cell(" to ".join(ends), "void" if "too liberal" in found else ""),
                Cell(share(max(row["low"] for row in own), 1)),
                Cell(f"{said}: {reasons[0]}" if reasons else said),
            )
        )
    columns = ("test", "level", "designs", "error rate", "highest low end of the 99 % bounds", "verdict")
    return Grid("Error rates without any effect", columns, tuple(cells), (CONSERVATIVE,))


def _reason(row: Row) -> str:
    reason = row["reason"]
    return reason if isinstance(reason, str) and row["verdict"] == "conservative" else ""
