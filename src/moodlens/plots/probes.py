"""Probe accuracy by decoder layer, beside everything it must beat."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import bars, label_apart
from moodlens.plots.style import INK, MUTED, PAPER, SIGNAL, TWIN, headline, null_line, sites_axis

LOOKS = {
    "wording": (SIGNAL, SIGNAL, "o"),
    "prompt": (SIGNAL, PAPER, "o"),
    "twin": (TWIN, TWIN, "s"),
}
"""Kind of a curve -> (colour, colour inside the marker, marker)."""


@dataclass(frozen=True)
class Curve:
    """Accuracy of one probe at each layer; every array is (layer,), NaN where it was not measured."""

    name: str
    kind: str  # wording: folds hold the wording out; prompt: folds by prompt; twin: the untrained twin
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def probe_sweep(
    curves: tuple[Curve, ...],
    baselines: Mapping[str, float],
    chance: float,
    ax: Axes,
    *,
    title: str,
    note: str,
) -> Axes:
    """Draw accuracy by layer with its interval, the baselines as lines, and chance; return `ax`.

    Args:
        curves: all over the same layers; no two of a kind.
        baselines: name -> accuracy of a probe that sees no layer (words, text encoder, acoustics).
        chance: accuracy without signal.
        ax: where to draw.
        title: above the axes.
        note: n and the kind of interval.
    """
    n_layers = max(len(curve.accuracy) for curve in curves)
    ax.set_ylim(0, 1.04)
    ticks = np.linspace(0, 1, 5)
    ax.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    null_line(ax, chance)
    names = {"chance": (chance, MUTED)}
    for name, value in baselines.items():
        ax.axhline(value, color=INK, linewidth=1.0, dashes=(5, 3), alpha=0.55, zorder=1.6)
        names[name] = (value, INK)
    for number, curve in enumerate(curves):
        x = np.arange(n_layers) + 0.09 * (number - (len(curves) - 1) / 2)
        colour, inside, marker = LOOKS[curve.kind]
        ax.plot(x, curve.accuracy, "-", color=colour, linewidth=1.6, zorder=3)
        bars(ax, x, curve.accuracy, curve.low, curve.high, colour)
        ax.scatter(
            x, curve.accuracy, s=34, c=inside, edgecolors=colour, linewidths=1.5, marker=marker, zorder=5
        )
        names[curve.name] = (float(curve.accuracy[-1]), colour)
    label_apart(ax, names)
    sites_axis(ax, [str(layer) for layer in range(n_layers)])
    headline(ax, title, note)
    ax.set_ylabel("accuracy on unseen prompts")
    ax.set_xlabel("decoder layer")
    return ax
