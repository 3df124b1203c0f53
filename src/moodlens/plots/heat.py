"""Tables of numbers as colour: layers x heads, descriptors x places."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize, TwoSlopeNorm

from moodlens.plots.style import INK, MUTED, headline

AROUND_ZERO = LinearSegmentedColormap.from_list("around_zero", ["#0072b3", "#f4f2ee", "#d55f00"])
FROM_ZERO = LinearSegmentedColormap.from_list("from_zero", ["#f4f2ee", "#7f86d6", "#20277a"])
"""Blue to orange is told apart under every common colour blindness; neither holds a colour of the palette,
which would follow the page into dark."""

MOST_TICKS = 26


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
    """Draw a table as colours with its scale; a dot marks what is significant; return `ax`.

    Args:
        values: NaN where nothing was measured.
        certain: where a dot stands.
        ax: where to draw.
        title: above the axes.
        note: n and what the dots mean.
        unit: of the values, beside the scale.
        row_labels, column_labels: ticks; thinned where there are many.
        signed: two colours that meet at 0, else one colour from the lowest value.
        limits: ends of the scale; None takes the data's.
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
