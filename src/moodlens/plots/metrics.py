"""Every metric at every layer: where it sees emotion, and how far above shuffled labels."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from moodlens.plots.style import INK, MUTED, PAPER, RULE, SIGNAL, headline

MOST_TEXTS = 12
"""Columns above which cells are too narrow for numbers."""


@dataclass(frozen=True)
class MetricMap:
    """Metrics by site; arrays are (metric, site), NaN where not measured."""

    metrics: tuple[str, ...]  # rows, first on top
    sites: tuple[str, ...]  # columns
    estimate: np.ndarray  # in the units of each metric
    score: np.ndarray  # standard deviations of the shuffled labels
    certain: np.ndarray  # bool; significant after the correction over all cells


def metric_map(found: MetricMap, strongest: np.ndarray, ax: Axes, *, title: str, note: str) -> Axes:
    """Draw the cells that are certain in colour, as strong as their score; return `ax`.

    Args:
        found: what is drawn; cells that are not certain stay without colour.
        strongest: score of each metric at which the colour is full, (metric,).
        ax: where to draw.
        title: above the axes.
        note: n, what is shuffled, what the colour means.
    """
    n_metrics, n_sites = found.score.shape
    strength = np.clip(found.score / np.maximum(strongest[:, None], 1e-9), 0, 1)
    for row in range(n_metrics):
        for column in range(n_sites):
            sure = bool(found.certain[row, column])
            shade = 0.15 + 0.85 * float(strength[row, column]) if sure else 0.0
            corner = (column - 0.47, row - 0.46)
            face = SIGNAL if sure else "none"
            ax.add_patch(
                Rectangle(corner, 0.94, 0.92, facecolor=face, alpha=shade if sure else None, edgecolor="none")
            )
            ax.add_patch(Rectangle(corner, 0.94, 0.92, facecolor="none", edgecolor=RULE, linewidth=0.7))
            if n_sites <= MOST_TEXTS and np.isfinite(found.estimate[row, column]):
                colour = MUTED if not sure else PAPER if shade > 0.6 else INK
                said = f"{round(float(found.estimate[row, column]), 2) + 0.0:.2f}"  # no minus zero
                ax.text(column, row, said, ha="center", va="center", fontsize=7.5, color=colour)
    ax.set_xlim(-0.5, n_sites - 0.5)
    ax.set_ylim(n_metrics - 0.5, -0.5)
    ax.set_xticks(range(n_sites), found.sites)
    ax.set_yticks(range(n_metrics), found.metrics)
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    headline(ax, title, note)
    return ax
