"""The look every figure shares: colours, fonts, the null line, the note that says n and the interval's kind.

The palette is Okabe and Ito's (2008, Color Universal Design), told apart under every common colour
blindness. On the page each colour is a CSS variable (see `plots.style`), so that a figure follows light and
dark; the values here are those of a light page and of a figure on its own.

A figure as an inline SVG: the same bytes for the same figure, colours that follow the page.
"""

import re
from collections.abc import Callable
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
PAPER = "#fefefd"

PALETTE = {
    **EMOTION_COLOURS,
    "ink": INK,
    "muted": MUTED,
    "rule": RULE,
    "signal": SIGNAL,
    "twin": TWIN,
    "paper": PAPER,
}
"""CSS variable name -> colour. Distinct values: `plots.style` finds a variable by its value."""

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
    fill: Callable[..., object], *, width_in: float = 9.8, height_in: float = 3.9, n_axes: int = 1
) -> Figure:
    """Return a new figure of `n_axes` axes side by side, drawn on by `fill(axes...)` in the house style."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        fill(*np.atleast_1d(figure.subplots(1, n_axes)))
    return figure


def colour_of(emotion: str) -> str:
    """Return the fixed colour of an emotion; any other label is neutral grey."""
    return EMOTION_COLOURS.get(emotion, EMOTION_COLOURS["neutral"])


def in_order(emotions: list[str]) -> list[str]:
    """Return the emotions in the fixed order of `base.axes`; anything else follows by name.

    >>> in_order(["neutral", "sad", "happy"])
    ['happy', 'sad', 'neutral']
    """
    known = [emotion for emotion in EMOTIONS if emotion in emotions]
    return known + sorted(set(emotions) - set(EMOTIONS))


def headline(ax: Axes, title: str, note: str) -> None:
    """Write the title and, smaller beneath it, the note that says n and the interval's kind."""
    ax.set_title(title)
    # In points, not in shares of the axes: in a tall figure the note would run into the title.
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
    """Draw the value that no signal would give, dotted, across the axes."""
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
    """Put one place per site on the x axis, in the order given, each name a word per line."""
    ax.set_xticks(range(len(labels)), [label.replace(" ", "\n") for label in labels])
    ax.set_xlim(-0.5, len(labels) - 0.5)


def figure_svg(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as one `<svg>` element that can stand inside a page.

    Text stays text, so the page's font applies. Every colour of `PALETTE` becomes `var(--name, colour)`.
    Ids carry `name` as a prefix, because a page holds many figures. Nothing depends on date or place.

    Args:
        figure: what is drawn.
        name: unique on the page, letters and hyphens.
        alt: what a reader who cannot see the figure needs to know.
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
