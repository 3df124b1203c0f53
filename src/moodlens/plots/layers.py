"""The sweep over sites: how strongly emotion separates the prompts at each, and where that is certain."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import MUTED, PAPER, SIGNAL, TWIN, headline, label_right, null_line, sites_axis


@dataclass(frozen=True)
class Sweep:
    """An effect at each site; every array is (site,), NaN where it was not measured."""

    labels: tuple[str, ...]  # what stands under each site, in order
    in_decoder: np.ndarray  # bool; decoder layers are joined by a line, other sites stand alone
    effect: np.ndarray  # within - between similarity, centred
    low: np.ndarray
    high: np.ndarray
    certain: np.ndarray  # bool; significant after maxT over the whole family
    twin: np.ndarray  # effect in the untrained twin


def layer_sweep(sweep: Sweep, ax: Axes, *, title: str, note: str, unit: str) -> Axes:
    """Draw the effect with its interval by site, beside the untrained twin and the null line; return `ax`.

    A filled point is significant after the correction over all sites, a hollow one is not.
    """
    x = np.arange(len(sweep.labels))
    layers = x[sweep.in_decoder]
    for places, joined in ((layers, True), (x[~sweep.in_decoder], False)):
        line = "-" if joined else "none"
        ax.plot(
            places, sweep.twin[places], color=TWIN, linestyle=line, marker="s", markersize=4, linewidth=1.3
        )
        ax.plot(places, sweep.effect[places], color=SIGNAL, linestyle=line, linewidth=1.8, zorder=3)
    bars(ax, x, sweep.effect, sweep.low, sweep.high, SIGNAL)
    faces = np.where(sweep.certain, SIGNAL, PAPER)
    ax.scatter(x, sweep.effect, s=44, c=faces, edgecolors=SIGNAL, linewidths=1.6, zorder=5)
    sites_axis(ax, list(sweep.labels))
    null_line(ax, 0.0)
    last = int(layers[-1]) if len(layers) else len(x) - 1
    ends = {
        "model": (sweep.effect[last], SIGNAL),
        "untrained twin": (sweep.twin[last], TWIN),
        "no effect": (0.0, MUTED),
    }
    label_apart(ax, {name: end for name, end in ends.items() if np.isfinite(end[0])})
    headline(ax, title, note)
    ax.set_ylabel(unit)
    ax.set_xlabel(
        "decoder layer" if len(layers) == len(x) else "from the words over the decoder’s layers to the music"
    )
    return ax


def bars(ax: Axes, x: np.ndarray, value: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> None:
    """Draw an interval at each place where there is one."""
    known = np.isfinite(low) & np.isfinite(high)
    ax.vlines(x[known], low[known], high[known], color=colour, linewidth=1.4, alpha=0.75, zorder=4)


def label_apart(ax: Axes, names: dict[str, tuple[float, str]]) -> None:
    """Name lines at the right edge, each as near its value as the others allow.

    Args:
        ax: axes whose y limits already hold the data.
        names: label -> (value in data units, colour).
    """
    low, high = ax.get_ylim()
    rising = sorted(names.items(), key=lambda item: item[1][0])
    places = spaced([value for _, (value, _) in rising], gap=0.07 * (high - low))
    for (name, (_, colour)), place in zip(rising, places, strict=True):
        label_right(ax, place, name, colour)


def spaced(values: list[float], gap: float) -> list[float]:
    """Return rising values moved as little as it takes to lie `gap` apart; crowded ones spread evenly.

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
