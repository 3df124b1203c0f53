"""Probe accuracy by decoder layer, beside everything it must beat.

What a probe reads, site by site, beside its baselines: a picture, a table and a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import bars, label_apart
from moodlens.plots.style import (
    INK,
    MUTED,
    PAPER,
    SIGNAL,
    TWIN,
    draw,
    figure_svg,
    headline,
    null_line,
    sites_axis,
)
from moodlens.report.probe_readings import direction_figures, reading_figures, reading_grid
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.wording import (
    Row,
    count,
    figure_id,
    hookpoint_name,
    interval,
    layer_groups,
    long_name,
    number,
    p_value,
    share,
    twin_value,
)

LOOKS = {
    "wording": (SIGNAL, SIGNAL, "o"),
    "prompt": (SIGNAL, PAPER, "o"),
    "twin": (TWIN, TWIN, "s"),
}
"""Kind of a curve -> (colour, colour inside the marker, marker)."""


@dataclass(frozen=True)
class Curve:
    """Accuracy of one probe at each layer; every array is (layer,), NaN where it was not measured."""

    name: str
    kind: str  # wording: folds hold the wording out; prompt: folds by prompt; twin: the untrained twin
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def probe_sweep(
    curves: tuple[Curve, ...],
    baselines: Mapping[str, float],
    chance: float,
    ax: Axes,
    *,
    title: str,
    note: str,
) -> Axes:
    """Draw accuracy by layer with its interval, the baselines as lines, and chance; return `ax`.

    Args:
        curves: all over the same layers; no two of a kind.
        baselines: name -> accuracy of a probe that sees no layer (words, text encoder, acoustics).
        chance: accuracy without signal.
        ax: where to draw.
        title: above the axes.
        note: n and the kind of interval.
    """
    n_layers = max(len(curve.accuracy) for curve in curves)
    ax.set_ylim(0, 1.04)
    ticks = np.linspace(0, 1, 5)
    ax.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    null_line(ax, chance)
    names = {"chance": (chance, MUTED)}
    for name, value in baselines.items():
        ax.axhline(value, color=INK, linewidth=1.0, dashes=(5, 3), alpha=0.55, zorder=1.6)
        names[name] = (value, INK)
    for lane_index, curve in enumerate(curves):
        x = np.arange(n_layers) + 0.09 * (lane_index - (len(curves) - 1) / 2)
        colour, inside, marker = LOOKS[curve.kind]
        ax.plot(x, curve.accuracy, "-", color=colour, linewidth=1.6, zorder=3)
        bars(ax, x, curve.accuracy, curve.low, curve.high, colour)
        ax.scatter(
            x, curve.accuracy, s=34, c=inside, edgecolors=colour, linewidths=1.5, marker=marker, zorder=5
        )
        names[curve.name] = (float(curve.accuracy[-1]), colour)
    label_apart(ax, names)
    sites_axis(ax, [str(layer) for layer in range(n_layers)])
    headline(ax, title, note)
    ax.set_ylabel("accuracy on unseen prompts")
    ax.set_xlabel("decoder layer")
    return ax


READERS = {
    "bow": "bag of words",
    "text": "text encoder",
    "acoustics": "acoustics",
    "tokens": "audio tokens",
    "codec": "codec latents",
}
"""Sites without layers that stand beside the layers' probes."""

CAPTION = (
    "During generation every layer sees the text at every step, so a high accuracy here mostly reads the "
    "prompt back. What the model itself holds is the question of the state rung."
)
NOTE = "Selectivity: accuracy of the closed-form probe minus its mean accuracy on shuffled labels."
COLUMNS = (
    "site",
    "accuracy, wording held out",
    "interval",
    "p, maxT",
    "selectivity",
    "accuracy, prompts held out",
    "interval",
    "p, maxT",
)


def probes_finding(
    probe: Mapping[str, Any],
    rows: Sequence[Row],
    n_folds: int,
    confidence: float,
    directions: Sequence[Row] = (),
) -> Finding:
    """Return the probes beside their baselines.

    Args:
        probe: metrics/probe.json.
        rows: metrics/probe_layers.csv.
        n_folds: folds of the cross-validation.
        confidence: of the intervals.
        directions: metrics/probe_directions.csv.
    """
    size = count(probe["n_prompts"], "prompt")
    note = (
        f"{size}, {n_folds} folds; bars: {share(confidence)} Korn-Graubard over prompts or wordings; "
        "dashed: probes that see no layer, wording held out"
    )
    figures = tuple(
        _figure(name, group, rows, probe["chance"], note) for name, group in layer_groups(rows).items()
    )
    caption = f"Balanced accuracy of a logistic probe, {size}, chance {share(probe['chance'], 1)}"
    grid = Grid(caption, COLUMNS, tuple(_cells(row) for row in rows), (NOTE,))
    resampled = f"{size}; bars: {share(confidence)} bootstrap over wordings"
    figures += reading_figures(rows, resampled) + direction_figures(directions)
    return Finding(_summary(probe), figures, (grid, reading_grid(rows, size)))


def _summary(probe: Mapping[str, Any]) -> str:
    said = "A linear probe names the emotion of prompts it never saw."
    if "layers" not in probe:
        return said
    best = probe["layers"]
    beside = {**best["baselines"], **best["beside"]}
    others = ", ".join(f"{name} {share(base['accuracy'], 1)}" for name, base in beside.items())
    bounds = interval(best["low"], best["high"], percent=True)
    return (
        f"{said} With the wording held out it reads {share(best['accuracy'], 1)} {bounds} at "
        f"{hookpoint_name(best['best'])}, the best layer; beside it: {others}, chance "
        f"{share(probe['chance'], 1)}."
    )


def _figure(name: str, layers: Sequence[Row], rows: Sequence[Row], chance: float, note: str) -> Figure:
    def column(key: str) -> np.ndarray:
        return np.array([row[key] for row in layers], dtype=np.float64)

    unknown = np.full(len(layers), np.nan)
    twin = np.array([twin_value(row, rows, "accuracy") for row in layers])
    by_prompt = (column(key) for key in ("accuracy_by_prompt", "low_by_prompt", "high_by_prompt"))
    by_wording = (column(key) for key in ("accuracy", "low", "high"))
    drawn = (
        Curve("untrained twin", "twin", twin, unknown, unknown),
        Curve("folds by prompt", "prompt", *by_prompt),
        Curve("folds by wording", "wording", *by_wording),
    )
    curves = tuple(curve for curve in drawn if np.isfinite(curve.accuracy).all())
    baselines = {
        READERS[row["site"]]: float(row["accuracy"])
        for row in rows
        if row["site"] in READERS and row["model"] == "model"
    }
    title = f"Probe accuracy by layer, {name}"
    figure = draw(lambda ax: probe_sweep(curves, baselines, chance, ax, title=title, note=note))
    said = [f"{curve.name} {', '.join(share(float(v)) for v in curve.accuracy)}" for curve in curves]
    alt = f"{title}: {'; '.join(said)}. {note}."
    return Figure(figure_svg(figure, figure_id("probe", name), alt), CAPTION)


def _cells(row: Row) -> tuple[Cell, ...]:
    return (
        Cell(long_name(row)),
        Cell(share(row["accuracy"], 1)),
        Cell(interval(row["low"], row["high"], percent=True)),
        Cell(p_value(row["p_maxt"])),
        Cell(number(row["selectivity"], 2)),
        Cell(share(row["accuracy_by_prompt"], 1)),
        Cell(interval(row["low_by_prompt"], row["high_by_prompt"], percent=True)),
        Cell(p_value(row["p_maxt_by_prompt"])),
    )
