"""What the audio holds: one descriptor by emotion, a point per prompt."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import INK, colour_of, headline, in_order, null_line

SPREAD = 0.28
"""Half the width of a cloud of points, in places of the x axis."""


def descriptor_by_emotion(
    prompts: Mapping[str, np.ndarray], ax: Axes, *, title: str, unit: str, null: float | None = None
) -> Axes:
    """Draw each emotion's prompts as points and their mean as a bar; return `ax`.

    Args:
        prompts: emotion -> (prompt,), each the mean over the clips of one prompt, in `unit`.
        ax: where to draw.
        title: the descriptor, e.g. "Tempo".
        unit: of the values, for the y axis.
        null: a value with a meaning of its own (mode margin 0: neither major nor minor).
    """
    emotions = in_order(list(prompts))
    for place, emotion in enumerate(emotions):
        values = np.sort(prompts[emotion])
        colour = colour_of(emotion)
        ax.scatter(place + spread(len(values)), values, s=17, color=colour, alpha=0.8, linewidths=0, zorder=3)
        ax.hlines(values.mean(), place - 0.38, place + 0.38, color=INK, linewidth=2, zorder=4)
    if null is not None:
        null_line(ax, null)
    ax.set_xticks(range(len(emotions)), emotions, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(emotions) - 0.4)
    headline(ax, title, unit)
    return ax


def spread(n: int) -> np.ndarray:
    """Return n offsets within +-SPREAD that put neighbours of a sorted list far apart, without chance.

    The golden ratio's multiples modulo 1 (Weyl sequence).
    """
    golden = (np.sqrt(5) - 1) / 2
    return (np.arange(1, n + 1) * golden % 1 - 0.5) * 2 * SPREAD
