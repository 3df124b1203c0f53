"""The chapter on the calibration: error rates, power, and verdicts on models whose truth is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.decision.ladder import RUNGS
from moodlens.plots.style import (
    MUTED,
    PAPER,
    SIGNAL,
    TWIN,
    bars,
    draw,
    figure_svg,
    headline,
    label_apart,
    null_line,
    percent_axis,
)
from moodlens.report.formatting import Row, column, count, interval, number, p_value, share
from moodlens.report.records import Cell, Figure, Finding, Grid, cells

MARKERS = ("o", "s", "D", "^", "v")
SPREAD = 0.3
"""Half height that the designs of one test take up around its line."""


@dataclass(frozen=True)
class RateRow:
    """The error rates of one test, one per design; arrays are (design,)."""

    name: str
    level: float
    rate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    icc: np.ndarray


@dataclass(frozen=True)
class PowerCurve:
    """Power by prompts per emotion for one planted share; arrays are (n,)."""

    share: float
    n: np.ndarray
    power: np.ndarray
    low: np.ndarray
    high: np.ndarray


def error_rates(rows: Sequence[RateRow], ax: Axes, *, valid: bool, title: str, note: str) -> Axes:
    """Draw the rates of each test, a marker per design by ICC, beside its level; return `ax`.

    Args:
        rows: tests from top to bottom.
        ax: where to draw.
        valid: tests that carry a claim (their level is the line to keep) or the common, wrong ones.
        title, note: above the axes.
    """
    colour = SIGNAL if valid else TWIN
    iccs = sorted({float(icc) for row in rows for icc in row.icc})
    for place, row in enumerate(rows):
        y = place + np.linspace(-SPREAD, SPREAD, len(row.rate))
        ax.hlines(y, row.low, row.high, color=colour, linewidth=1.2, alpha=0.7, zorder=3)
        for icc, marker in zip(iccs, MARKERS, strict=False):
            chosen = row.icc == icc
            label = f"ICC {icc:g}" if place == 0 else None
            ax.scatter(
                row.rate[chosen],
                y[chosen],
                s=26,
                c=colour,
                marker=marker,
                edgecolors=PAPER,
                linewidths=0.5,
                zorder=4,
                label=label,
            )
        ax.vlines(row.level, place - 0.45, place + 0.45, color=MUTED, linewidth=1.6, linestyle=":", zorder=2)
    ax.set_yticks(range(len(rows)), [row.name for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, max(0.11, 1.04 * max(float(row.high.max()) for row in rows)))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("share of datasets without effect that are called an effect")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5)
    headline(ax, title, note)
    return ax


def power_curves(curves: Sequence[PowerCurve], wanted: float, ax: Axes, *, title: str, note: str) -> Axes:
    """Draw power by prompts per emotion with its bounds, a line per planted share; return `ax`."""
    ax.set_xscale("log", base=2)
    shades = np.linspace(0.35, 1.0, len(curves))
    ends = {}
    for curve, shade in zip(curves, shades, strict=True):
        ax.plot(curve.n, curve.power, "-o", color=SIGNAL, alpha=shade, linewidth=1.6, markersize=4, zorder=3)
        bars(ax, curve.n, curve.power, curve.low, curve.high, SIGNAL)
        ends[f"{curve.share:.0%} of variance"] = (float(curve.power[-1]), SIGNAL)
    percent_axis(ax)
    null_line(ax, wanted)
    ends["wanted"] = (wanted, MUTED)
    ax.set_xticks(curves[0].n, [f"{n:g}" for n in curves[0].n])
    ax.minorticks_off()
    label_apart(ax, ends)
    ax.set_xlabel("prompts per emotion")
    ax.set_ylabel("effects found")
    headline(ax, title, note)
    return ax


TITLES = {
    "ladder": "Error rates of the tests that carry the ladder",
    "nulls": "Error rates under the nulls that broke an earlier edition",
    "state": "Error rates of the tests behind the finding on null-text states",
    "metrics": "Error rates of the metrics beside PERMANOVA",
    "chapters": "Error rates of the tests in other chapters",
    "naive": "Error rates of common tests",
}
"""Group of tests -> the title of its figure."""
NAIVE = "naive"
"""The `rung` of the rows of calibration/verdicts.csv on the naive pipeline."""
MARKS = {"right": "strong", "wrong": "void", "untested": ""}
WANTED = 0.8
RATES_CAPTION = (
    "Simulated clips without any emotion effect, which resemble each other within prompts by the ICC. "
    "Dotted: the level of each test. A test whose bounds lie right of it alarms too often."
)
POWER_CAPTION = (
    "One layer, four emotions, two clips per prompt: how many prompts an effect needs to be found."
)
CONSERVATIVE = "Conservative tests lose power, not truth; the reason stands beside each."
NO_CLAIM = "“No” is right whether the verdict is none or undecided: neither claims the rung."
WHERE_CUT = "where_cut"
FINDING = "finding: "
"""Begins the `rung` of the rows on null-text states; the reader follows."""
CONTROLS_NOTE = (
    "Decoders that no emotion word has taught, and an untrained decoder’s running mean, take the model’s "
    "place on the same clips. None of them may pass."
)
SHARES_NOTE = (
    "Recovered: forks, from the tokens of a neutral clip. Ablated: what a continuation of the emotion’s own "
    "tokens loses when the text is taken out of the cache. The two have no continuation in common."
)


def calibration_finding(
    metrics: Mapping[str, Any], rates: Sequence[Row], power: Sequence[Row], verdicts: Sequence[Row]
) -> Finding:
    """Return the calibration.

    Args:
        metrics: metrics/calibration.json, which holds the power of forks and the shares of memory too.
        rates, power, verdicts: calibration/rates.csv, power.csv, verdicts.csv.
    """
    claims = [row for row in rates if row["carries_claim"]]
    common = [row for row in rates if not row["carries_claim"] and row["group"] != "nulls"]
    figures = [
        *(
            _rates_figure([row for row in claims if row["group"] == group], True, group)
            for group in dict.fromkeys(row["group"] for row in claims)
        ),
        _rates_figure(common, False, NAIVE),
        _power_figure([row for row in power if row["what"] == "found"]),
    ]
    judged = [row for row in verdicts if row["rung"] in (*RUNGS, WHERE_CUT, NAIVE)]
    finding = [row for row in verdicts if row["rung"].startswith(FINDING)]
    grids = (
        _verdict_grid(judged),
        *([_controls_grid(finding)] if finding else []),
        *([_shares_grid(metrics["memory_share"])] if metrics.get("memory_share") else []),
        *([_fork_grid(metrics["forks"])] if metrics.get("forks") else []),
        _planted_grid(power),
        _rates_grid(rates),
    )
    return Finding(_summary(metrics), tuple(figures), grids)


def _summary(metrics: Mapping[str, Any]) -> str:
    type1, parts = metrics["type1"], []
    kept = type1["n_cells"] - type1["n_too_liberal"]
    parts.append(
        f"{kept} of {type1['n_cells']} error rates of tests that carry a claim keep their level "
        f"(mean {number(type1['mean_at_05'], 2)} at .05); the t-test on pairs of clips alarms in up to "
        f"{share(metrics['naive']['t_test_on_pairs_of_clips'])} of datasets without effect."
    )
    for model, counts in metrics["verdicts"].items():
        parts.append(
            f"{model}: right in {counts['right']} of {count(counts['n_cells'], 'cell')}, where the naive "
            f"pipeline says “encoded” in {counts['naive_says_encoded']}."
        )
    return " ".join(parts)


def _rates_figure(rows: Sequence[Row], valid: bool, group: str) -> Figure:
    fewest, most = (int(of(row["n_sims"] for row in rows)) for of in (min, max))
    n_sims = count(most, "dataset") if fewest == most else f"{fewest:,} to {count(most, 'dataset')}"
    note = f"{n_sims} per point; bars: exact 99 % binomial bounds"
    names = list(dict.fromkeys(row["test"] for row in rows))
    drawn = []
    for name in names:
        own = [row for row in rows if row["test"] == name]
        level = float(own[0]["level"])
        drawn.append(RateRow(name, level, *(column(own, key) for key in ("rate", "low", "high", "icc"))))
    title = TITLES[group]
    height = 1.6 + 0.5 * len(names)
    figure = draw(lambda ax: error_rates(drawn, ax, valid=valid, title=title, note=note), height_in=height)
    largest = ", ".join(f"{row.name} {number(float(row.rate.max()), 2)}" for row in drawn)
    alt = f"{title}, the largest of each: {largest}. {note}."
    return Figure(figure_svg(figure, f"calibration-{group}", alt), RATES_CAPTION)


def _power_figure(rows: Sequence[Row]) -> Figure:
    curves = []
    for planted in sorted({float(row["share"]) for row in rows}):
        own = sorted((row for row in rows if row["share"] == planted), key=lambda row: row["n_per_emotion"])
        curves.append(
            PowerCurve(planted, *(column(own, key) for key in ("n_per_emotion", "rate", "low", "high")))
        )
    n_sims = int(rows[0]["n_sims"])
    note = f"{count(n_sims, 'dataset')} per point; PERMANOVA by prompt at .05; bars: exact 99 % bounds"
    title = "Power by number of prompts"
    figure = draw(lambda ax: power_curves(curves, WANTED, ax, title=title, note=note))
    values = "; ".join(
        f"{share(curve.share)}: " + ", ".join(share(float(value)) for value in curve.power)
        for curve in curves
    )
    return Figure(figure_svg(figure, "calibration-power", f"{title}: {values}. {note}."), POWER_CAPTION)


def _verdict_grid(rows: Sequence[Row]) -> Grid:
    """Return a row per model, prompt set and seed: each verdict beside the truth, marked right or wrong."""
    rungs = [rung for rung in dict.fromkeys(row["rung"] for row in rows) if rung != NAIVE]
    table: dict[tuple[str, str, int], dict[str, Row]] = {}
    for row in rows:
        table.setdefault((row["model"], str(row.get("prompts", "")), row["seed"]), {})[row["rung"]] = row
    lines = []
    for (model, prompts, seed), row_of in table.items():
        name = ", ".join(part for part in (model, prompts, f"seed {seed}") if part)
        naive = Cell(row_of[NAIVE]["verdict"]) if NAIVE in row_of else Cell("–")
        lines.append((Cell(name), *(_judged(row_of.get(rung)) for rung in rungs), naive))
    columns = ("model", *(rung.replace("_", " ") for rung in rungs), "naive pipeline")
    return Grid("Verdicts on models whose truth is known", columns, tuple(lines), (NO_CLAIM,))


def _controls_grid(rows: Sequence[Row]) -> Grid:
    """Return who passes the finding on null-text states: the model, and readers that must not."""
    lines = tuple(
        (
            Cell(row["rung"].removeprefix(FINDING)),
            Cell(f"{row['model']}, {row['prompts']}, seed {row['seed']}"),
            Cell(row["verdict"], "void" if row["mark"] == "wrong" else ""),
            Cell(p_value(row["p"])),
        )
        for row in rows
    )
    columns = ("reader", "clips of", "finding", "largest p over families")
    return Grid("The finding on null-text states and its negative controls", columns, lines, (CONTROLS_NOTE,))


def _shares_grid(shares: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Grid:
    """Return the mean shares of memory of every model, recovered and by ablation."""
    lines = tuple(
        cells(model, quantity, number(found["mean"], 2), interval(found["smallest"], found["largest"]))
        for model, quantities in shares.items()
        for quantity, found in quantities.items()
    )
    columns = ("model", "quantity", "mean share over cells", "smallest and largest cell")
    return Grid("Share of memory beside its truth", columns, lines, (SHARES_NOTE,))


def _fork_grid(forks: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Grid:
    """Return how often forks claim a memory of known share, and how often they say none."""
    lines = tuple(
        cells(share_name, n_units, share(rates["claimed"], 1), share(rates["none"], 1))
        for share_name, by_units in forks.items()
        for n_units, rates in by_units.items()
    )
    columns = ("share of memory", "pairs of wordings", "claimed", "none")
    return Grid("Power of forks", columns, lines)


def _judged(row: Row | None) -> Cell:
    """Return a verdict beside its truth, and alone where the truth is not known beforehand."""
    if row is None:
        return Cell("–")
    if not isinstance(row["mark"], str) or not row["mark"]:
        return Cell(row["verdict"])
    truth = "yes" if str(row["truth"]) == "True" else "no"
    return Cell(f"{row['verdict']} (truth: {truth})", MARKS[row["mark"]])


def _planted_grid(rows: Sequence[Row]) -> Grid:
    shown = [row for row in rows if row["what"] != "found"]
    lines = tuple(
        cells(
            f"{row['what']}, relabelled by {row['unit']}",
            share(row["share"]),
            str(int(row["n_per_emotion"])),
            share(row["rate"], 1),
            interval(row["low"], row["high"], percent=True),
        )
        for row in shown
    )
    columns = ("what", "planted share of variance", "prompts per emotion", "rate", "99 % bounds")
    return Grid(f"Planted effects, {count(int(shown[0]['n_sims']), 'dataset')} each", columns, lines)


def _rates_grid(rows: Sequence[Row]) -> Grid:
    """Return one row per test: its rates over all designs; calibration/rates.csv has each."""
    lines = []
    for name in dict.fromkeys(row["test"] for row in rows):
        own = [row for row in rows if row["test"] == name]
        ends = share(min(row["rate"] for row in own), 1), share(max(row["rate"] for row in own), 1)
        outcomes = dict.fromkeys(row["verdict"] for row in own)
        reasons = list(dict.fromkeys(filter(None, (_reason(row) for row in own))))
        counts = ", ".join(
            f"{verdict} in {sum(row['verdict'] == verdict for row in own)}" for verdict in outcomes
        )
        lines.append(
            (
                Cell(name),
                Cell(number(own[0]["level"], 2)),
                Cell(str(len(own))),
                Cell(" to ".join(ends), "void" if "too liberal" in outcomes else ""),
                Cell(share(max(row["low"] for row in own), 1)),
                Cell(f"{counts}: {reasons[0]}" if reasons else counts),
            )
        )
    columns = ("test", "level", "designs", "error rate", "highest low end of the 99 % bounds", "verdict")
    return Grid("Error rates without any effect", columns, tuple(lines), (CONSERVATIVE,))


def _reason(row: Row) -> str:
    reason = row["reason"]
    return reason if isinstance(reason, str) and row["verdict"] == "conservative" else ""
