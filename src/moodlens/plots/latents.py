"""Training of SAEs, and what their latents say of emotion beside simpler units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import MUTED, SIGNAL, TWIN, headline, label_right, null_line


@dataclass(frozen=True)
class FvuCurve:
    """Held-out FVU of one SAE after each pass over its rows."""

    name: str
    twin: bool  # trained on the untrained twin
    fvu: np.ndarray  # (epoch,)


def fvu_curves(curves: Sequence[FvuCurve], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw held-out FVU by pass, the seeds and the twin; 1 is the mean of the rows."""
    ax.set_yscale("log")
    for curve in curves:
        colour = TWIN if curve.twin else SIGNAL
        ax.plot(np.arange(1, len(curve.fvu) + 1), curve.fvu, color=colour, linewidth=1.4)
    for twin, colour in ((False, SIGNAL), (True, TWIN)):
        ends = [float(curve.fvu[-1]) for curve in curves if curve.twin == twin]
        if ends:
            label_right(ax, float(np.median(ends)), "untrained twin" if twin else "model, all seeds", colour)
    null_line(ax, 1.0)
    headline(ax, title, note)
    ax.set_ylabel("FVU, held-out wordings")
    ax.set_xlabel("passes over the training rows")
    return ax


@dataclass(frozen=True)
class UnitCount:
    """One kind of unit: the share of its units above the ratios, and selective by the test."""

    name: str
    over_2: float
    over_4: float
    selective: float
    n_units: int


def unit_counts(counts: Sequence[UnitCount], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw the shares of units as bars, one row per kind of unit, the SAE first."""
    y = np.arange(len(counts))[::-1]
    for offset, field, colour, name in (
        (0.26, "over_2", "#d9dce1", "ratio > 2"),
        (0.0, "over_4", MUTED, "ratio > 4"),
        (-0.26, "selective", SIGNAL, "selective, by the test"),
    ):
        shares = [getattr(count, field) for count in counts]
        ax.barh(y + offset, shares, height=0.24, color=colour, label=name)
    ax.set_yticks(y, [f"{count.name} ({count.n_units})" for count in counts])
    ax.set_xlim(0, 1)
    ax.set_xticks(np.linspace(0, 1, 5), [f"{tick:.0%}" for tick in np.linspace(0, 1, 5)])
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.legend(frameon=False, fontsize=8.5, loc="lower right")
    headline(ax, title, note)
    ax.set_xlabel("share of units")
    return ax


def emotion_heat(
    means: np.ndarray, latents: Sequence[str], emotions: Sequence[str], ax: Axes, *, title: str, note: str
) -> Axes:
    """Draw latents x emotions: mean activation as a share of the latent's largest.

    Args:
        means: (latent, emotion).
        latents: what each row is called.
        emotions: what each column is called.
    """
    shares = means / np.maximum(means.max(axis=1, keepdims=True), 1e-12)
    ax.imshow(shares.T, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    ax.set_yticks(range(len(emotions)), list(emotions))
    ax.set_xticks(range(len(latents)), list(latents), rotation=90, fontsize=7.5)
    ax.grid(visible=False)
    headline(ax, title, note)
    ax.set_xlabel("latent")
    return ax


READINGS: Mapping[str, str] = {
    "sae": "SAE latents",
    "untrained_sae": "SAE with random directions",
    "twin_sae": "SAE of the untrained twin",
    "shuffled_labels": "SAE latents, labels shuffled",
    "dimensions": "dimensions, halves",
    "pca": "PCA, halves",
    "ica": "ICA, halves",
    "kmeans": "k-means clusters",
    "words": "words of the prompt",
    "twin_dimensions": "twin's dimensions, halves",
}
"""Kind of unit -> its name on a figure, in this order."""
