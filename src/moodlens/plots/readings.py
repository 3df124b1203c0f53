"""What a layer tells beside the emotion's name: scales, gains beyond text and sound, directions."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from moodlens.plots.layers import bars, label_apart
from moodlens.plots.style import INK, MUTED, PAPER, SIGNAL, headline, null_line, sites_axis

MOST_TEXTS = 12
"""Layers above which cells are too narrow for numbers."""


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
        layers: what stands under each place.
        ax: where to draw.
        title: above the axes.
        note: n and the kind of interval.
    """
    for number, line in enumerate(lines):
        x = np.arange(len(layers)) + 0.08 * (number - (len(lines) - 1) / 2)
        style = (0, (3, 2)) if line.dashed else "-"
        ax.plot(x, line.value, color=line.colour, linestyle=style, linewidth=1.6, zorder=3)
        ax.scatter(x, line.value, s=22, color=line.colour, zorder=5)
        bars(ax, x, line.value, line.low, line.high, line.colour)
    null_line(ax, 0.0)
    sites_axis(ax, layers)
    names = {line.name: (float(line.value[-1]), line.colour) for line in lines if np.isfinite(line.value[-1])}
    label_apart(ax, names | {"nothing": (0.0, MUTED)})
    headline(ax, title, note)
    ax.set_xlabel("decoder layer")
    return ax


def direction_matrix(cosines: np.ndarray, layers: list[str], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw the cosine of a direction between every two layers, (layer, layer); return `ax`.

    Colour is strength; cells below 0 have none.
    """
    for row in range(len(layers)):
        for column in range(len(layers)):
            value = float(cosines[row, column])
            shade = float(np.clip(value, 0, 1))
            place = (column - 0.48, row - 0.48)
            ax.add_patch(Rectangle(place, 0.96, 0.96, facecolor=SIGNAL, alpha=shade, edgecolor="none"))
            if len(layers) <= MOST_TEXTS:
                said = f"{round(value, 2) + 0.0:.2f}"  # no minus zero
                colour = PAPER if shade > 0.6 else INK
                ax.text(column, row, said, ha="center", va="center", fontsize=7.5, color=colour)
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set_ylim(len(layers) - 0.5, -0.5)
    ax.set_xticks(range(len(layers)), layers)
    ax.set_yticks(range(len(layers)), layers)
    ax.set_aspect("equal")
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    headline(ax, title, note)
    ax.set_xlabel("decoder layer")
    return ax
