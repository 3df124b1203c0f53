"""The style that all figures share, and the SVG element that stands in the page.

The palette is that of Okabe and Ito (2008, Color Universal Design), whose colours stay distinct under every
common colour blindness. On the page each colour is a CSS variable, so that a figure follows light and dark
mode; the values here are those of a light page and of a figure on its own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from moodlens.base.axes import EMOTIONS

EMOTION_COLOURS = {
    "happy": "#e69f00",
    "sad": "#0072b2",
    "calm": "#009e73",
    "energetic": "#d55e00",
    "angry": "#cc79a7",
    "neutral": "#8a8f98",
}
INK = "#1b1f26"
MUTED = "#626975"
RULE = "#d9dce1"
SIGNAL = "#3b49c4"
TWIN = "#9a6b00"
READING = "#b0416b"
PAPER = "#fefefd"

PALETTE = {
    **EMOTION_COLOURS,
    "ink": INK,
    "muted": MUTED,
    "rule": RULE,
    "signal": SIGNAL,
    "twin": TWIN,
    "reading": READING,
    "paper": PAPER,
}
"""CSS variable name -> colour. The values are distinct: `figure_svg` finds a variable by its value."""

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 20,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "figure.facecolor": "none",
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "moodlens",
}


def draw(
    fill: Callable[..., object],
    *,
    width_in: float = 9.8,
    height_in: float = 3.9,
    n_axes: int = 1,
    ratios: Sequence[float] | None = None,
) -> Figure:
    """Return a new figure of `n_axes` axes side by side, filled by `fill(axes...)` in the style `RC`.

    `ratios` are the axes' relative widths; None makes them equal.
    """
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        fill(*np.atleast_1d(figure.subplots(1, n_axes, width_ratios=ratios)))
    return figure


def colour_of(emotion: str) -> str:
    """Return the fixed colour of an emotion; any other label is neutral grey."""
    return EMOTION_COLOURS.get(emotion, EMOTION_COLOURS["neutral"])


def in_order(emotions: list[str]) -> list[str]:
    """Return the emotions in the fixed order of `base.axes`; other labels follow by name.

    >>> in_order(["neutral", "sad", "happy"])
    ['happy', 'sad', 'neutral']
    """
    known = [emotion for emotion in EMOTIONS if emotion in emotions]
    return known + sorted(set(emotions) - set(EMOTIONS))


def headline(ax: Axes, title: str, note: str) -> None:
    """Write the title and, in smaller type below it, the note with n and the kind of interval."""
    ax.set_title(title)
    # The offset is in points: as a share of the axes, the note would overlap the title of a tall figure.
    ax.annotate(
        note,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 6.5),
        textcoords="offset points",
        fontsize=8.5,
        color=MUTED,
        va="bottom",
        annotation_clip=False,
    )


def null_line(ax: Axes, value: float) -> None:
    """Draw the value expected without signal as a dotted line across the axes."""
    ax.axhline(value, color=MUTED, linewidth=1.2, dashes=(1, 2), zorder=1.5)


def label_right(ax: Axes, value: float, label: str, colour: str) -> None:
    """Write `label` beside the right edge of the axes, at the height `value` in data units."""
    ax.annotate(
        label,
        (1.0, value),
        xycoords=ax.get_yaxis_transform(),
        xytext=(6, 0),
        textcoords="offset points",
        color=colour,
        fontsize=8.5,
        va="center",
        annotation_clip=False,
    )


def sites_axis(ax: Axes, labels: list[str]) -> None:
    """Label the x axis with one tick per site, in the order given, each name with one word per line."""
    ax.set_xticks(range(len(labels)), [label.replace(" ", "\n") for label in labels])
    ax.set_xlim(-0.5, len(labels) - 0.5)


def percent_axis(ax: Axes) -> None:
    """Scale the y axis from 0 to 100 %, with a tick every 25 %."""
    ax.set_ylim(0, 1.04)
    ticks = np.linspace(0, 1, 5)
    ax.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])


def reference_lines(ax: Axes, values: Mapping[str, float]) -> dict[str, tuple[float, str]]:
    """Draw baselines as thin dashed lines; return name -> (value, colour) for `label_apart`."""
    for value in values.values():
        ax.axhline(value, color=INK, linewidth=1.0, dashes=(5, 3), alpha=0.55, zorder=1.6)
    return {name: (value, INK) for name, value in values.items()}


def bars(ax: Axes, x: np.ndarray, value: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> None:
    """Draw the interval of each point that has one."""
    known = np.isfinite(low) & np.isfinite(high)
    ax.vlines(x[known], low[known], high[known], color=colour, linewidth=1.4, alpha=0.75, zorder=4)


def label_apart(ax: Axes, names: dict[str, tuple[float, str]]) -> None:
    """Name lines at the right edge, each as close to its value as the other labels allow.

    Args:
        ax: axes whose y limits already include the data.
        names: label -> (value in data units, colour).
    """
    low, high = ax.get_ylim()
    rising = sorted(names.items(), key=lambda item: item[1][0])
    heights = spaced([value for _, (value, _) in rising], gap=0.07 * (high - low))
    for (name, (_, colour)), height in zip(rising, heights, strict=True):
        label_right(ax, height, name, colour)


def spaced(values: list[float], gap: float) -> list[float]:
    """Return rising values moved as little as needed to lie `gap` apart; crowded values spread evenly.

    >>> spaced([0.0, 1.0, 1.0], gap=0.5)
    [0.0, 0.75, 1.25]
    """
    groups: list[list[float]] = []
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _span(groups[-1], gap)[0] - _span(groups[-2], gap)[1] < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_span(group, gap)[0] + gap * rank for group in groups for rank in range(len(group))]


def _span(group: list[float], gap: float) -> tuple[float, float]:
    centre, half = sum(group) / len(group), gap * (len(group) - 1) / 2
    return centre - half, centre + half


def figure_svg(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as one `<svg>` element for a page.

    Text stays text, so the page's font applies. Every colour of `PALETTE` becomes `var(--name, colour)`.
    Ids get the prefix `name`, because a page contains many figures. The bytes do not depend on the date.

    Args:
        figure: what is drawn.
        name: unique on the page, letters and hyphens.
        alt: text for readers who cannot see the figure.
    """
    text = StringIO()
    with mpl.rc_context(RC):
        FigureCanvasSVG(figure).print_svg(text, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{name}-", body)
    body = re.sub("|".join(PALETTE.values()), _variable, body)
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', opening)
    assert box is not None, "matplotlib writes a viewBox"
    return (
        f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group()} role="img" aria-label={quoteattr(alt)}>{rest.strip()}'
    )


_NAMES = {colour: name for name, colour in PALETTE.items()}


def _variable(match: re.Match[str]) -> str:
    return f"var(--{_NAMES[match.group()]}, {match.group()})"
