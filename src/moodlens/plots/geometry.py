"""Figures of the chapter on `geometry`: maps, columns by site, and the fit of the circumplex."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import (
    INK,
    MUTED,
    PAPER,
    SIGNAL,
    TWIN,
    bars,
    colour_of,
    headline,
    in_order,
    null_line,
)


@dataclass(frozen=True)
class SiteBar:
    """A score at one site beside its null under relabelling."""

    name: str
    value: float
    null: float  # mean under relabelling; NaN where the null line suffices
    certain: bool
    twin: float  # of the untrained twin, NaN where there is none
    low: float = np.nan
    high: float = np.nan


def prompt_map(
    points: Mapping[str, np.ndarray], ax: Axes, *, title: str, note: str, axes: tuple[str, str]
) -> Axes:
    """Draw prompts as points in the colour of their emotion, at one scale on both axes; return `ax`.

    Args:
        points: emotion -> (prompt, 2).
        ax: where to draw.
        title: the site.
        note: the kind of map, and n.
        axes: labels of the axes.
    """
    for emotion in in_order(list(points)):
        own = points[emotion]
        ax.scatter(own[:, 0], own[:, 1], s=20, color=colour_of(emotion), alpha=0.85, linewidths=0)
        centre = own.mean(axis=0)
        ax.annotate(
            emotion,
            (float(centre[0]), float(centre[1])),
            fontsize=8,
            color=INK,
            ha="center",
            va="center",
            bbox={"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
        )
    ax.set_aspect("equal", adjustable="datalim")
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    headline(ax, title, note)
    ax.set_xlabel(axes[0])
    ax.set_ylabel(axes[1])
    return ax


def site_bars(scores: tuple[SiteBar, ...], ax: Axes, *, title: str, note: str, unit: str) -> Axes:
    """Draw one score per site as a column, filled where significant, its null as a tick; return `ax`."""
    x = np.arange(len(scores))
    values = np.array([score.value for score in scores])
    faces = [SIGNAL if score.certain else PAPER for score in scores]
    ax.bar(x, values, width=0.62, color=faces, edgecolor=SIGNAL, linewidth=1.4, zorder=2)
    low, high = (np.array([getattr(score, key) for score in scores]) for key in ("low", "high"))
    bars(ax, x, values, low, high, INK)
    for at, score in zip(x, scores, strict=True):
        if np.isfinite(score.null):
            ax.hlines(score.null, at - 0.38, at + 0.38, color=MUTED, linewidth=1.6, zorder=4)
        if np.isfinite(score.twin):
            ax.scatter(at, score.twin, marker="s", s=24, color=TWIN, zorder=5)
    null_line(ax, 0.0)
    ax.set_xticks(x, [score.name for score in scores], rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(scores) - 0.4)
    headline(ax, title, note)
    ax.set_ylabel(unit)
    return ax


def distance_fit(
    expected: Mapping[str, float],
    measured: Mapping[str, Mapping[str, float]],
    ax: Axes,
    *,
    title: str,
    note: str,
) -> Axes:
    """Draw the distance of each pair of emotions at several sites beside valence and arousal; return `ax`.

    Args:
        expected: pair -> distance in valence and arousal.
        measured: site -> pair -> distance, relative to the site's mean.
        ax: where to draw.
        title: above the axes.
        note: what the distances are.
    """
    pairs = sorted(expected, key=lambda pair: expected[pair])
    x = np.arange(len(pairs))
    mean = np.mean(list(expected.values()))
    ax.plot(x, [expected[pair] / mean for pair in pairs], color=MUTED, dashes=(4, 2), label="valence-arousal")
    styles = [("o", SIGNAL), ("s", INK), ("^", TWIN), ("D", MUTED)]
    for (site, distances), (marker, colour) in zip(measured.items(), styles, strict=False):
        ax.plot(
            x,
            [distances[pair] for pair in pairs],
            marker=marker,
            markersize=5,
            color=colour,
            linewidth=1.4,
            label=site,
        )
    ax.set_xticks(x, pairs, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    null_line(ax, 1.0)
    ax.legend(frameon=False, fontsize=8.5, loc="lower right")
    headline(ax, title, note)
    ax.set_ylabel("distance, share of the mean")
    return ax
