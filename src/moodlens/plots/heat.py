"""Tables of numbers as colour: layers x heads, descriptors x sites, metrics x layers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize, TwoSlopeNorm
from matplotlib.patches import Rectangle

from moodlens.plots.style import INK, MUTED, PAPER, RULE, SIGNAL, headline

AROUND_ZERO = LinearSegmentedColormap.from_list("around_zero", ["#0072b3", "#f4f2ee", "#d55f00"])
FROM_ZERO = LinearSegmentedColormap.from_list("from_zero", ["#f4f2ee", "#7f86d6", "#20277a"])
"""Blue and orange stay distinct under every common colour blindness. Neither map contains a colour of the
palette, which would change in dark mode."""

MOST_TICKS = 26
"""Ticks of one axis above which labels are thinned."""

MOST_TEXTS = 12
"""Columns above which the cells are too narrow for numbers."""


def heat(
    values: Float[np.ndarray, "row column"],
    certain: Bool[np.ndarray, "row column"],
    ax: Axes,
    *,
    title: str,
    note: str,
    unit: str,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    signed: bool,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw a table as colours with its scale and dots on significant cells; return `ax`.

    Args:
        values: NaN where nothing was measured.
        certain: cells that get a dot.
        ax: where to draw.
        title: above the axes.
        note: n and what the dots mean.
        unit: of the values, beside the scale.
        row_labels, column_labels: ticks; thinned where there are many.
        signed: use two colours that meet at 0, else one colour from the lowest value.
        limits: ends of the scale; None: the range of the data.
    """
    known = values[np.isfinite(values)]
    low, high = limits or (float(known.min()), float(known.max()))
    if signed:
        reach = max(abs(low), abs(high), 1e-9)
        norm, colours = TwoSlopeNorm(0, -reach, reach), AROUND_ZERO
    else:
        norm, colours = Normalize(low, max(high, low + 1e-9)), FROM_ZERO
    n_rows, n_columns = values.shape
    mesh = ax.pcolormesh(np.arange(n_columns + 1), np.arange(n_rows + 1), values, cmap=colours, norm=norm)
    rows, columns = np.nonzero(certain)
    ax.scatter(columns + 0.5, rows + 0.5, s=9, color=INK, edgecolors="#f4f2ee", linewidths=0.6, zorder=3)
    for axis, labels in ((ax.xaxis, column_labels), (ax.yaxis, row_labels)):
        step = -(-len(labels) // MOST_TICKS)
        axis.set_ticks(np.arange(len(labels))[::step] + 0.5, list(labels)[::step])
    ax.grid(False)
    ax.invert_yaxis()
    for spine in ax.spines.values():
        spine.set_visible(False)
    scale = ax.figure.colorbar(mesh, ax=ax, pad=0.02, fraction=0.06)
    scale.outline.set_visible(False)  # type: ignore[operator]
    scale.set_label(unit, color=MUTED)
    headline(ax, title, note)
    return ax


def shaded_cells(
    values: Float[np.ndarray, "row column"],
    shades: Float[np.ndarray, "row column"],
    ax: Axes,
    *,
    title: str,
    note: str,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> Axes:
    """Draw a table of numbers in cells of one colour; return `ax`.

    Args:
        values: the numbers, NaN where nothing was measured; not written above MOST_TEXTS columns.
        shades: strength of each cell's colour, 0..1; 0 is no colour.
        ax: where to draw.
        title: above the axes.
        note: n and what the colour means.
        row_labels, column_labels: ticks.
    """
    n_rows, n_columns = values.shape
    for row, column in np.ndindex(n_rows, n_columns):
        corner, shade, value = (column - 0.47, row - 0.46), float(shades[row, column]), values[row, column]
        if shade > 0:
            ax.add_patch(Rectangle(corner, 0.94, 0.92, facecolor=SIGNAL, alpha=shade, edgecolor="none"))
        ax.add_patch(Rectangle(corner, 0.94, 0.92, facecolor="none", edgecolor=RULE, linewidth=0.7))
        if n_columns <= MOST_TEXTS and np.isfinite(value):
            colour = MUTED if shade == 0 else PAPER if shade > 0.6 else INK
            text = f"{round(float(value), 2) + 0.0:.2f}"  # adding 0.0 turns -0.0 into 0.0
            ax.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    ax.set_xlim(-0.5, n_columns - 0.5)
    ax.set_ylim(n_rows - 0.5, -0.5)
    ax.set_xticks(range(n_columns), column_labels)
    ax.set_yticks(range(n_rows), row_labels)
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    headline(ax, title, note)
    return ax
