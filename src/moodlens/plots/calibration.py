"""The calibration: error rates against their level, and power by number of prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import bars, label_apart
from moodlens.plots.style import MUTED, PAPER, SIGNAL, TWIN, headline, null_line

MARKERS = ("o", "s", "D", "^", "v")
SPREAD = 0.3
"""Half height that the designs of one test take up around its line."""


@dataclass(frozen=True)
class RateRow:
    """The error rates of one test, one per design; arrays are (design,)."""

    name: str
    level: float
    rate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    icc: np.ndarray


@dataclass(frozen=True)
class PowerCurve:
    """Power by prompts per emotion for one planted share; arrays are (n,)."""

    share: float
    n: np.ndarray
    power: np.ndarray
    low: np.ndarray
    high: np.ndarray


def error_rates(rows: Sequence[RateRow], ax: Axes, *, valid: bool, title: str, note: str) -> Axes:
    """Draw the rates of each test, a marker per design by ICC, beside its level; return `ax`.

    Args:
        rows: tests from top to bottom.
        ax: where to draw.
        valid: tests that carry a claim (their level is the line to keep) or the common, wrong ones.
        title, note: above the axes.
    """
    colour = SIGNAL if valid else TWIN
    iccs = sorted({float(icc) for row in rows for icc in row.icc})
    for place, row in enumerate(rows):
        y = place + np.linspace(-SPREAD, SPREAD, len(row.rate))
        ax.hlines(y, row.low, row.high, color=colour, linewidth=1.2, alpha=0.7, zorder=3)
        for icc, marker in zip(iccs, MARKERS, strict=False):
            chosen = row.icc == icc
            label = f"ICC {icc:g}" if place == 0 else None
            ax.scatter(
                row.rate[chosen],
                y[chosen],
                s=26,
                c=colour,
                marker=marker,
                edgecolors=PAPER,
                linewidths=0.5,
                zorder=4,
                label=label,
            )
        ax.vlines(row.level, place - 0.45, place + 0.45, color=MUTED, linewidth=1.6, linestyle=":", zorder=2)
    ax.set_yticks(range(len(rows)), [row.name for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, max(0.11, 1.04 * max(float(row.high.max()) for row in rows)))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("share of datasets without effect that are called an effect")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5)
    headline(ax, title, note)
    return ax


def power_curves(curves: Sequence[PowerCurve], wanted: float, ax: Axes, *, title: str, note: str) -> Axes:
    """Draw power by prompts per emotion with its bounds, a line per planted share; return `ax`."""
    ax.set_xscale("log", base=2)
    shades = np.linspace(0.35, 1.0, len(curves))
    ends = {}
    for curve, shade in zip(curves, shades, strict=True):
        ax.plot(curve.n, curve.power, "-o", color=SIGNAL, alpha=shade, linewidth=1.6, markersize=4, zorder=3)
        bars(ax, curve.n, curve.power, curve.low, curve.high, SIGNAL)
        ends[f"{curve.share:.0%} of variance"] = (float(curve.power[-1]), SIGNAL)
    ax.set_ylim(0, 1.04)
    ticks = np.linspace(0, 1, 5)
    ax.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    null_line(ax, wanted)
    ends["wanted"] = (wanted, MUTED)
    ax.set_xticks(curves[0].n, [f"{n:g}" for n in curves[0].n])
    ax.minorticks_off()
    label_apart(ax, ends)
    ax.set_xlabel("prompts per emotion")
    ax.set_ylabel("effects found")
    headline(ax, title, note)
    return ax
