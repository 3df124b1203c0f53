"""Other scores of the probes: R² of valence and arousal, partial R², and directions between layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.heat import shaded_cells
from moodlens.plots.style import (
    INK,
    MUTED,
    SIGNAL,
    TWIN,
    bars,
    draw,
    figure_svg,
    headline,
    label_apart,
    null_line,
    sites_axis,
)
from moodlens.report.formatting import (
    Row,
    column,
    figure_id,
    interval,
    layer_groups,
    long_name,
    number,
    p_value,
    share,
    twin_value,
)
from moodlens.report.records import Cell, Figure, Grid, cells, marked


@dataclass(frozen=True)
class Line:
    """One quantity by layer; arrays are (layer,), NaN where not measured."""

    name: str
    value: np.ndarray
    low: np.ndarray  # NaN where no interval is valid
    high: np.ndarray
    colour: str
    dashed: bool = False


def layer_lines(lines: tuple[Line, ...], layers: list[str], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw quantities whose null is 0 by layer, with intervals where there are any; return `ax`.

    Args:
        lines: all over the same layers.
        layers: the tick of each layer.
        ax: where to draw.
        title: above the axes.
        note: n and the kind of interval.
    """
    for lane_index, line in enumerate(lines):
        x = np.arange(len(layers)) + 0.08 * (lane_index - (len(lines) - 1) / 2)
        style = (0, (3, 2)) if line.dashed else "-"
        ax.plot(x, line.value, color=line.colour, linestyle=style, linewidth=1.6, zorder=3)
        ax.scatter(x, line.value, s=22, color=line.colour, zorder=5)
        bars(ax, x, line.value, line.low, line.high, line.colour)
    null_line(ax, 0.0)
    sites_axis(ax, layers)
    names = {line.name: (float(line.value[-1]), line.colour) for line in lines if np.isfinite(line.value[-1])}
    label_apart(ax, names | {"no effect": (0.0, MUTED)})
    headline(ax, title, note)
    ax.set_xlabel("decoder layer")
    return ax


def direction_matrix(cosines: np.ndarray, layers: list[str], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw the cosine of a direction between every two layers, (layer, layer); return `ax`.

    Colour is strength; cells below 0 have none.
    """
    shades = np.clip(cosines, 0, 1)
    shaded_cells(cosines, shades, ax, title=title, note=note, row_labels=layers, column_labels=layers)
    ax.set_aspect("equal")
    ax.set_xlabel("decoder layer")
    return ax


SCALES = ("valence", "arousal")
BASES = {"text": "beyond text", "acoustics": "beyond acoustics"}
COLOURS = (SIGNAL, INK)

CAPTION = (
    "Left: share of the variance of valence and arousal that a ridge regression predicts out of fold, below "
    "0 where it does worse than the mean; dashed: the untrained twin. Right: what a layer adds to a "
    "regression of the emotions that already has the text encoder, or the acoustic descriptors; each "
    "interval is for one layer."
)
DIRECTIONS = (
    "Cosine of a direction between layers. One direction is estimated from one half of the wordings and the "
    "other from the other half, so that noise shared by the layers does not raise the cosine. The diagonal "
    "is the reliability of a layer’s direction: no cell of its row or column can be expected above it. "
    "Vectors are centred, not whitened."
)
NOTE = (
    "R²: out of fold, wordings held out, penalty chosen inside; p exchanges wordings, against the best site "
    "of each relabelling. Template: accuracy on held-out templates (wordings may be known). Control task: "
    "accuracy minus that on random labels of wordings, prompts held out; near 0, memorising the wordings "
    "could explain the accuracy. Code: bits per prompt needed to send the emotions to a receiver who has the "
    "site; a guess costs log2 of the number of emotions."
)
COLUMNS = (
    "site",
    "R², valence",
    "p, maxT",
    "R², arousal",
    "p, maxT",
    "template held out",
    "control selectivity",
    "code, bits",
    "partial R² beyond text",
    "interval",
    "partial R² beyond acoustics",
    "interval",
)


def score_figures(rows: Sequence[Row], note: str) -> tuple[Figure, ...]:
    """Return R² of the scales and partial R² by layer, for each kind of layer.

    Args:
        rows: metrics/probe_layers.csv.
        note: n and the kind of interval.
    """
    figures = []
    for name, group in layer_groups(rows).items():
        scales = tuple(line for scale in SCALES for line in _scale_lines(scale, group, rows))
        gains = tuple(line for base in BASES for line in _gain_lines(base, group))
        panels = [
            (lines, title, beneath)
            for lines, title, beneath in (
                (scales, "R², wording held out", "out of fold, penalty chosen inside"),
                (gains, "Partial R² of the emotions", note),
            )
            if lines
        ]
        if not panels:
            continue
        labels = [f"{row['layer']:.0f}" for row in group]

        def fill(*axes, panels=panels, labels=labels):
            for ax, (lines, title, beneath) in zip(axes, panels, strict=True):
                layer_lines(lines, labels, ax, title=title, note=beneath)

        values = [
            f"{line.name}: {', '.join(number(float(value), 2) for value in line.value)}"
            for lines, _, _ in panels
            for line in lines
        ]
        alt = f"Scores by layer, {name}. {'; '.join(values)}. {note}."
        figure = draw(fill, n_axes=len(panels))
        figures.append(Figure(figure_svg(figure, figure_id("probe-scores", name), alt), CAPTION))
    return tuple(figures)


def _scale_lines(scale: str, group: Sequence[Row], rows: Sequence[Row]) -> list[Line]:
    key, unknown = f"r2_{scale}", np.full(len(group), np.nan)
    values = column(group, key)
    if not np.isfinite(values).any():
        return []
    colour = COLOURS[SCALES.index(scale)]
    lines = [Line(scale, values, unknown, unknown, colour)]
    twin = np.array([twin_value(row, rows, key) for row in group])
    if np.isfinite(twin).any():
        lines.append(Line(f"{scale}, untrained", twin, unknown, unknown, TWIN, dashed=True))
    return lines


def _gain_lines(base: str, group: Sequence[Row]) -> list[Line]:
    key = f"partial_r2_{base}"
    if key not in group[0]:
        return []
    values = column(group, key)
    if not np.isfinite(values).any():
        return []
    colour = COLOURS[list(BASES).index(base)]
    return [Line(BASES[base], values, column(group, f"{key}_low"), column(group, f"{key}_high"), colour)]


def direction_figures(rows: Sequence[Row]) -> tuple[Figure, ...]:
    """Return the matrices of valence and arousal between the model's layers, for each kind of layer.

    Args:
        rows: metrics/probe_directions.csv.
    """
    kinds = dict.fromkeys((row["site"], row["half"]) for row in rows if row["model"] == "model")
    figures = []
    for site, half in kinds:
        own = [row for row in rows if (row["model"], row["site"], row["half"]) == ("model", site, half)]
        matrices = {name: _matrix(own, name) for name in SCALES}
        shown = {name: matrix for name, matrix in matrices.items() if matrix is not None}
        if not shown:
            continue

        def fill(*axes, shown=shown):
            for ax, (name, (labels, cosines)) in zip(axes, shown.items(), strict=True):
                note = "cosine, disjoint halves of the wordings"
                direction_matrix(cosines, labels, ax, title=f"Direction of {name}", note=note)

        ends = "; ".join(
            f"{name}, first to last layer {number(float(cosines[0, -1]), 2)}"
            for name, (_, cosines) in shown.items()
        )
        alt = f"Directions between layers, {site} · {half}: {ends}."
        figure = draw(fill, n_axes=len(shown), height_in=4.3)
        figures.append(
            Figure(figure_svg(figure, figure_id("probe-directions", f"{site} · {half}"), alt), DIRECTIONS)
        )
    return tuple(figures)


def _matrix(rows: Sequence[Row], name: str) -> tuple[list[str], np.ndarray] | None:
    own = [row for row in rows if row["direction_a"] == row["direction_b"] == name]
    if not own:
        return None
    layers = sorted({int(row["layer_a"]) for row in own})
    cosines = np.full((len(layers), len(layers)), np.nan)
    for row in own:
        a, b = layers.index(int(row["layer_a"])), layers.index(int(row["layer_b"]))
        cosines[a, b] = cosines[b, a] = row["cosine_split"]
    return [str(layer) for layer in layers], cosines


def score_grid(rows: Sequence[Row], size: str) -> Grid:
    """Return the table of every site's other scores."""
    return Grid(f"Other scores by site, {size}", COLUMNS, tuple(_cells(row) for row in rows), (NOTE,))


def _cells(row: Row) -> tuple[Cell, ...]:
    def gain(base: str) -> tuple[Cell, Cell]:
        key = f"partial_r2_{base}"
        low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
        return marked(number(row.get(key)), low is not None and low > 0), Cell(interval(low, high))

    return (
        *cells(
            long_name(row),
            number(row["r2_valence"]),
            p_value(row["p_valence"]),
            number(row["r2_arousal"]),
            p_value(row["p_arousal"]),
            share(row["by_template"], 1),
            number(row["control_selectivity"], 2),
            number(row["mdl_bits"], 2),
        ),
        *gain("text"),
        *gain("acoustics"),
    )
