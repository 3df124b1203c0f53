"""The chapter on `probe`: accuracy by layer beside its baselines, and the other scores of the probes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

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
    reference_lines,
    sites_axis,
)
from moodlens.report.formatting import (
    Row,
    column,
    figure_id,
    hookpoint_name,
    interval,
    layer_groups,
    long_name,
    number,
    p_value,
    sample_size,
    share,
    twin_value,
)
from moodlens.report.probe_scores import direction_figures, score_figures, score_grid
from moodlens.report.records import Cell, Figure, Finding, Grid, cells

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
    percent_axis(ax)
    null_line(ax, chance)
    names = {"chance": (chance, MUTED), **reference_lines(ax, baselines)}
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
    ax.set_ylabel("accuracy on held-out prompts")
    ax.set_xlabel("decoder layer")
    return ax


BASELINES = {
    "bow": "bag of words",
    "text": "text encoder",
    "acoustics": "acoustics",
    "tokens": "audio tokens",
    "codec": "codec latents",
}
"""Sites that are no layer and are drawn as baselines."""

CAPTION = (
    "During generation every layer sees the text at every step, so a high accuracy here mostly shows that "
    "the prompt can be read back. It does not show that the model uses its states."
)
NOTE = (
    "Selectivity: accuracy of the closed-form probe minus its mean accuracy on shuffled labels. With prompts "
    "held out the probe has met most wordings, which are no replicates: no interval, no p."
)
COLUMNS = (
    "site",
    "accuracy, wording held out",
    "interval",
    "p, maxT",
    "selectivity",
    "accuracy, prompts held out",
)


def probe_finding(
    probe: Mapping[str, Any],
    rows: Sequence[Row],
    n_folds: int,
    confidence: float,
    directions: Sequence[Row] = (),
) -> Finding:
    """Return the probes beside their baselines, and their other scores.

    Args:
        probe: metrics/probe.json.
        rows: metrics/probe_layers.csv.
        n_folds: folds of the cross-validation.
        confidence: of the intervals.
        directions: metrics/probe_directions.csv.
    """
    size = sample_size(probe, "prompt")
    note = (
        f"{size}, {n_folds} folds; bars: {share(confidence)} Korn-Graubard over wordings; "
        "dashed: probes of sites that are no layer, wording held out"
    )
    figures = tuple(
        _figure(name, group, rows, probe["chance"], note) for name, group in layer_groups(rows).items()
    )
    caption = f"Balanced accuracy of a logistic probe, {size}, chance {share(probe['chance'], 1)}"
    grid = Grid(caption, COLUMNS, tuple(_cells(row) for row in rows), (NOTE,))
    resampled = f"{size}; bars: {share(confidence)} bootstrap over wordings"
    figures += score_figures(rows, resampled) + direction_figures(directions)
    return Finding(_summary(probe), figures, (grid, score_grid(rows, size)))


def _summary(probe: Mapping[str, Any]) -> str:
    task = "A linear probe predicts the emotion of prompts that were held out."
    if "layers" not in probe:
        return task
    best = probe["layers"]
    beside = {**best["baselines"], **best["beside"]}
    others = ", ".join(f"{name} {share(base['accuracy'], 1)}" for name, base in beside.items())
    bounds = interval(best["low"], best["high"], percent=True)
    return (
        f"{task} With the wording held out, its accuracy is {share(best['accuracy'], 1)} {bounds} at "
        f"{hookpoint_name(best['best'])}, the best layer. Baselines: {others}, chance "
        f"{share(probe['chance'], 1)}."
    )


def _figure(name: str, layers: Sequence[Row], rows: Sequence[Row], chance: float, note: str) -> Figure:
    unknown = np.full(len(layers), np.nan)
    twin = np.array([twin_value(row, rows, "accuracy") for row in layers])
    by_wording = (column(layers, key) for key in ("accuracy", "low", "high"))
    drawn = (
        Curve("untrained twin", "twin", twin, unknown, unknown),
        Curve("folds by prompt", "prompt", column(layers, "accuracy_by_prompt"), unknown, unknown),
        Curve("folds by wording", "wording", *by_wording),
    )
    curves = tuple(curve for curve in drawn if np.isfinite(curve.accuracy).all())
    baselines = {
        BASELINES[row["site"]]: float(row["accuracy"])
        for row in rows
        if row["site"] in BASELINES and row["model"] == "model"
    }
    title = f"Probe accuracy by layer, {name}"
    figure = draw(lambda ax: probe_sweep(curves, baselines, chance, ax, title=title, note=note))
    values = [f"{curve.name} {', '.join(share(float(v)) for v in curve.accuracy)}" for curve in curves]
    alt = f"{title}: {'; '.join(values)}. {note}."
    return Figure(figure_svg(figure, figure_id("probe", name), alt), CAPTION)


def _cells(row: Row) -> tuple[Cell, ...]:
    return cells(
        long_name(row),
        share(row["accuracy"], 1),
        interval(row["low"], row["high"], percent=True),
        p_value(row["p_maxt"]),
        number(row["selectivity"], 2),
        share(row["accuracy_by_prompt"], 1),
    )
