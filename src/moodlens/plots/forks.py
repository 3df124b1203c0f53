"""Figures of the chapter on `forks`: each source over time, by guidance, and by part of the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from moodlens.plots.style import (
    INK,
    MUTED,
    PAPER,
    READING,
    SIGNAL,
    bars,
    headline,
    label_apart,
    null_line,
)

STYLES = {"music": (INK, "--", "s"), "memory": (SIGNAL, "-", "o"), "reading": (READING, "-.", "^")}
"""Source -> colour, line and marker of its share."""
DONOR = "donor"
MOST_TICKS = 16
"""Parts of the cache above which only every second, third ... one has a tick."""


@dataclass(frozen=True)
class SourceLine:
    """The share of one source over the fork steps; arrays are (step,)."""

    source: str  # a key of STYLES
    name: str
    time_s: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    donor: np.ndarray  # the same share between two wordings of one emotion


@dataclass(frozen=True)
class Point:
    """The share of one source, or of one part of the cache, at one fork step."""

    name: str
    share: float
    low: float
    high: float
    certain: bool  # its adjusted p is below the level
    source: str = "memory"  # a key of STYLES


def shares_over_time(
    lines: Sequence[SourceLine],
    neutral: Point | None,
    neutral_s: float,
    margin: float,
    ax: Axes,
    *,
    title: str,
    note: str,
) -> Axes:
    """Draw a line with its band for every source, the donors' lines, and the margin of "none"; return `ax`.

    Args:
        lines: the sources; the label of each stands at its last step.
        neutral: memory with neutral text ahead, drawn as a hollow diamond; None where it was not measured.
        neutral_s: fork step of `neutral`.
        margin: half the width of the band about 0 in which a share counts as none.
        ax: where to draw.
        title: above the axes.
        note: n and what bands and points are.
    """
    _scale(ax, margin)
    names = {}
    for line in lines:
        colour, style, marker = STYLES[line.source]
        ax.fill_between(line.time_s, line.low, line.high, color=colour, alpha=0.15, linewidth=0, zorder=2)
        if len(line.time_s) == 1:
            bars(ax, line.time_s, line.share, line.low, line.high, colour)
        ax.plot(line.time_s, line.donor, color=MUTED, linewidth=0.9, zorder=3.5)
        ax.plot(
            line.time_s, line.share, style, color=colour, marker=marker, markersize=6, linewidth=2, zorder=4
        )
        names[line.name] = (float(line.share[-1]), colour)
    if neutral is not None:
        colour = STYLES[neutral.source][0]
        ax.vlines(neutral_s, neutral.low, neutral.high, color=colour, linewidth=1.2, alpha=0.75, zorder=4.5)
        ax.scatter(
            [neutral_s], [neutral.share], marker="D", s=48, color=PAPER, edgecolors=colour, linewidths=1.6,
            zorder=5,
        )  # fmt: skip
    names[DONOR] = (float(np.mean([line.donor[-1] for line in lines])), MUTED)
    ax.set_xlim(left=0)
    label_apart(ax, names)
    headline(ax, title, note)
    ax.set_xlabel("seconds into the clip at which the clip is forked")
    ax.set_ylabel("share of the emotion of what follows")
    return ax


def share_points(points: Sequence[Point], margin: float, ax: Axes, *, title: str, note: str) -> Axes:
    """Draw a point with its interval for every name, filled where it is certain; return `ax`."""
    _scale(ax, margin)
    for x, point in enumerate(points):
        colour, _, marker = STYLES[point.source]
        ax.vlines(x, point.low, point.high, color=colour, linewidth=1.6, zorder=3)
        face = colour if point.certain else PAPER
        ax.scatter(
            [x], [point.share], marker=marker, s=52, color=face, edgecolors=colour, linewidths=1.6, zorder=4
        )
    step = -(-len(points) // MOST_TICKS)
    shown = range(0, len(points), step)
    ax.set_xticks(list(shown), [_broken(points[x].name) for x in shown])
    ax.set_xlim(-0.6, len(points) - 0.4)
    headline(ax, title, note)
    return ax


def same_height(axes: Sequence[Axes]) -> None:
    """Give axes that show shares one scale, so that their points can be compared."""
    limits = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _broken(name: str) -> str:
    """Return a name with one word per line."""
    return name.replace(" ", "\n").replace("re-", "re-\n")


def _scale(ax: Axes, margin: float) -> None:
    """Draw the line of no share and the margin about it; write shares as per cent."""
    ax.axhspan(-margin, margin, color=MUTED, alpha=0.12, linewidth=0, zorder=1)
    null_line(ax, 0.0)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
