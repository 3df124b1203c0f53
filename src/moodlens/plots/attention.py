"""Attention over time: how evenly a prompt's tokens are looked at, by emotion."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import label_apart
from moodlens.plots.style import MUTED, colour_of, headline, in_order, null_line


@dataclass(frozen=True)
class Band:
    """A curve with its interval; every array is (bin,)."""

    step: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def entropy_over_time(curves: Mapping[str, Band], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw one curve per emotion beside the line of uniform attention; return `ax`."""
    null_line(ax, 1.0)
    ends = {"uniform": (1.0, MUTED)}
    for emotion in in_order(list(curves)):
        band, colour = curves[emotion], colour_of(emotion)
        ax.fill_between(band.step, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(band.step, band.value, color=colour, linewidth=1.7, zorder=3)
        ends[emotion] = (float(band.value[-1]), colour)
    headline(ax, title, note)
    ax.set_ylabel("entropy / ln(tokens)")
    ax.set_xlabel("decoder step")
    label_apart(ax, ends)
    return ax
