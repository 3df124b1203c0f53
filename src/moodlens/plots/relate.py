"""How far the states' distances follow the sound's, layer by layer, beside what sees no layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import label_apart
from moodlens.plots.style import INK, MUTED, PAPER, SIGNAL, TWIN, headline, null_line, sites_axis


@dataclass(frozen=True)
class Association:
    """A correlation by layer; arrays are (layer,)."""

    name: str
    twin: bool  # of the untrained twin
    within: bool  # pairs of one emotion only: drawn dashed
    r: np.ndarray
    certain: np.ndarray  # bool; significant after maxT over the layers


def associations(
    curves: tuple[Association, ...], baselines: Mapping[str, float], ax: Axes, *, title: str, note: str
) -> Axes:
    """Draw each curve by layer, baselines as thin dashed lines, and no association; return `ax`.

    A filled point is significant after maxT over the layers, a hollow one is not.
    """
    n_layers = max(len(curve.r) for curve in curves)
    null_line(ax, 0.0)
    names = {"none": (0.0, MUTED)}
    for name, value in baselines.items():
        ax.axhline(value, color=INK, linewidth=1.0, dashes=(5, 3), alpha=0.55, zorder=1.6)
        names[name] = (value, INK)
    for curve in curves:
        colour, marker = (TWIN, "s") if curve.twin else (SIGNAL, "o")
        x = np.arange(len(curve.r))
        ax.plot(x, curve.r, "--" if curve.within else "-", color=colour, linewidth=1.6, zorder=3)
        faces = np.where(curve.certain, colour, PAPER)
        ax.scatter(x, curve.r, s=34, c=faces, edgecolors=colour, linewidths=1.5, marker=marker, zorder=5)
        names[curve.name] = (float(curve.r[-1]), colour)
    sites_axis(ax, [str(layer) for layer in range(n_layers)])
    label_apart(ax, names)
    headline(ax, title, note)
    ax.set_ylabel("correlation of distances, r")
    ax.set_xlabel("decoder layer")
    return ax
