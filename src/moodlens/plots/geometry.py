"""Maps of the prompts, and how their distances fit the circumplex of valence and arousal."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import bars
from moodlens.plots.style import INK, MUTED, PAPER, SIGNAL, TWIN, colour_of, headline, in_order, null_line


@dataclass(frozen=True)
class SiteBar:
    """One reading of one site, beside what relabelling gives."""

    name: str
    value: float
    null: float  # mean under relabelling; NaN where the null line says it
    certain: bool
    twin: float  # the same in the untrained twin, NaN where there is none
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
        note: what kind of picture, and n.
        axes: labels of the axes.
    """
    for emotion in in_order(list(points)):
        place = points[emotion]
        ax.scatter(place[:, 0], place[:, 1], s=20, color=colour_of(emotion), alpha=0.85, linewidths=0)
        centre = place.mean(axis=0)
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


def site_bars(readings: tuple[SiteBar, ...], ax: Axes, *, title: str, note: str, unit: str) -> Axes:
    """Draw one reading per site as a column, filled where significant, its null as a tick; return `ax`."""
    x = np.arange(len(readings))
    values = np.array([reading.value for reading in readings])
    faces = [SIGNAL if reading.certain else PAPER for reading in readings]
    ax.bar(x, values, width=0.62, color=faces, edgecolor=SIGNAL, linewidth=1.4, zorder=2)
    low, high = (np.array([getattr(reading, key) for reading in readings]) for key in ("low", "high"))
    bars(ax, x, values, low, high, INK)
    for place, reading in zip(x, readings, strict=True):
        if np.isfinite(reading.null):
            ax.hlines(reading.null, place - 0.38, place + 0.38, color=MUTED, linewidth=1.6, zorder=4)
        if np.isfinite(reading.twin):
            ax.scatter(place, reading.twin, marker="s", s=24, color=TWIN, zorder=5)
    null_line(ax, 0.0)
    ax.set_xticks(x, [reading.name for reading in readings], rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(readings) - 0.4)
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
    """Draw each pair of emotions: its distance at several sites against valence and arousal; return `ax`.

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
    looks = [("o", SIGNAL), ("s", INK), ("^", TWIN), ("D", MUTED)]
    for (site, distances), (marker, colour) in zip(measured.items(), looks, strict=False):
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
