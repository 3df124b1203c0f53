"""Readers of the same tokens side by side: accuracy by decoder step, and by prompts per emotion."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import bars, label_apart
from moodlens.plots.style import INK, MUTED, SIGNAL, TWIN, headline, null_line

LOOKS = {
    "state": (SIGNAL, "-", "o", 2.0),
    "random": (TWIN, "-", "s", 1.3),
    "fed": (INK, "--", "", 1.1),
}
"""Kind of a line -> (colour, line, marker, width)."""


@dataclass(frozen=True)
class Line:
    """Accuracy of one reader; arrays are (place,), `low` and `high` NaN where there is no band."""

    name: str
    kind: str  # state: the model; random: an untrained decoder; fed: a reader of the tokens without a decoder
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def reader_lines(
    lines: tuple[Line, ...],
    places: tuple[float, ...],
    chance: float,
    ax: Axes,
    *,
    title: str,
    note: str,
    xlabel: str,
    banded: bool,
) -> Axes:
    """Draw the accuracy of every reader over the same places, and chance; return `ax`.

    Args:
        lines: the readers, the state first.
        places: decoder steps, or prompts per emotion.
        chance: accuracy without signal.
        ax: where to draw.
        title: above the axes.
        note: n and what the bars or bands are.
        xlabel: what the places are.
        banded: draw low..high as a band (the range over layers), else as bars (an interval).
    """
    ax.set_ylim(0, 1.04)
    ticks = np.linspace(0, 1, 5)
    ax.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    null_line(ax, chance)
    names = {"chance": (chance, MUTED)}
    x = np.arange(len(places))
    for number, line in enumerate(lines):
        colour, style, marker, width = LOOKS[line.kind]
        at = x if banded else x + 0.05 * (number - (len(lines) - 1) / 2)
        ax.plot(
            at, line.accuracy, style, color=colour, marker=marker, markersize=5, linewidth=width, zorder=3
        )
        if banded and np.isfinite(line.low).all():
            ax.fill_between(at, line.low, line.high, color=colour, alpha=0.14, linewidth=0, zorder=1)
        elif not banded:
            bars(ax, at, line.accuracy, line.low, line.high, colour)
        names[line.name] = (float(line.accuracy[-1]), colour)
    ax.set_xticks(x, [f"{place:g}" for place in places])
    label_apart(ax, names)
    headline(ax, title, note)
    ax.set_ylabel("accuracy on unseen wordings")
    ax.set_xlabel(xlabel)
    return ax
