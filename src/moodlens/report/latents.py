"""What single latents say of emotion, and the same counts for everything simpler.

Training of SAEs, and what their latents say of emotion beside simpler units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import (
    MUTED,
    SIGNAL,
    TWIN,
    draw,
    figure_svg,
    headline,
    in_order,
    label_right,
    null_line,
)
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.wording import Row, count, number, p_value, share


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


COUNT_COLUMNS = ("units", "how many", "fire", "ratio > 2", "ratio > 4", "selective (FDR)")
TOP_COLUMNS = ("latent", "evidence", "ratio", "q", "q, null text", "in other seeds", "prompts", "listen")
COUNT_NOTE = (
    "Ratio: mean activation in the unit's best emotion over the mean of the others. Selective: ratio above "
    "2 and a false discovery rate below the threshold, whole wordings relabelled. Random directions and raw "
    "dimensions that pass as often say that the site is full of emotion, not that the SAE found units for it."
)
HEAT_NOTE = "share of each latent's largest mean; the latents listed below, emotions in turn"
N_ROWS = 12
"""Latents listed per site; metrics/latents_top.csv has them all."""


def latents_finding(
    metrics: Mapping[str, Any], counts: Sequence[Row], top: Sequence[Row], fdr: float
) -> Finding | None:
    """Return the latents of every site; None where no SAE was trained.

    Args:
        metrics: metrics/latents.json.
        counts: metrics/latents_counts.csv.
        top: metrics/latents_top.csv.
        fdr: false discovery rate of the test.
    """
    sites: Mapping[str, Mapping[str, Any]] = metrics["sites"]
    if not sites:
        return None
    figures, grids = [], []
    for site, found in sites.items():
        rows = [row for row in counts if row["site"] == site]
        shown = [row for row in top if row["site"] == site]
        n = f"{count(int(found['n_prompts']), 'prompt')}, {count(int(found['n_wordings']), 'wording')}"
        figures.append(_count_figure(site, rows, n, fdr))
        if shown:
            figures.append(_heat_figure(site, shown, n))
        grids.append(
            Grid(f"Selective units at {site}, {n}", COUNT_COLUMNS, _count_cells(rows), (COUNT_NOTE,))
        )
        if shown:
            grids.append(Grid(f"Latents to look at, {site}", TOP_COLUMNS, _top_cells(shown)))
    return Finding(
        " ".join(_said(site, found) for site, found in sites.items()), tuple(figures), tuple(grids)
    )


def _said(site: str, found: Mapping[str, Any]) -> str:
    n, least = int(found["n_selective"]), int(found["n_selective_least"])
    said = [
        f"{site}: {n} of {int(found['n_latents'])} latents are selective, at least {least} for each emotion; "
        f"{number(found['shuffled_selective'], 2)} with shuffled labels, "
        f"{int(found['untrained_sae_selective'])} of as many random directions"
    ]
    if "twin_sae_selective" in found:
        said[0] += f", {int(found['twin_sae_selective'])} in the untrained twin's SAE"
    said[0] += "."
    if "stable_70" in found:
        said.append(
            f"{share(found['stable_70'], 1)} of the latents have a partner above .7 cosine in another seed "
            f"(random decoders: {share(found['stable_70_random'], 1)})."
        )
    if found.get("held_out_kept") is not None:
        said.append(
            f"Of {int(found['held_out_chosen'])} chosen on the other wordings, "
            f"{share(found['held_out_kept'])} keep a ratio above 2 on held-out ones "
            f"(chance {share(found['held_out_chance'])})."
        )
    if "null_survive" in found:
        twin = (
            f", against {int(found['null_twin_selective'])} in the twin"
            if "null_twin_selective" in found
            else ""
        )
        said.append(f"{int(found['null_survive'])} stay selective under null text{twin}.")
    if "loss_recovered" in found:
        said.append(
            f"With the SAE in the layer's place {share(found['loss_recovered'], 1)} of the cross-entropy "
            "that its mean would cost is recovered."
        )
    return " ".join(said)


def _count_figure(site: str, rows: Sequence[Row], n: str, fdr: float) -> Figure:
    by_name = {str(row["reading"]): row for row in rows}
    counts = []
    for reading, name in READINGS.items():
        if reading in by_name:
            row = by_name[reading]
            over_2, over_4, selective = (
                float(row[key]) / row["n_units"] for key in ("n_over_2", "n_over_4", "n_selective")
            )
            counts.append(UnitCount(name, over_2, over_4, selective, int(row["n_units"])))
    title = f"Units that follow an emotion, {site}"
    note = f"{n}; whole wordings relabelled, FDR {fdr:g}; number of units in brackets"
    figure = draw(
        lambda ax: unit_counts(counts, ax, title=title, note=note), height_in=0.42 * len(counts) + 1.4
    )
    said = "; ".join(f"{one.name} {share(one.selective)} selective" for one in counts)
    return Figure(figure_svg(figure, f"latents-{_letters(site)}", f"{title}: {said}. {note}."), COUNT_NOTE)


def _heat_figure(site: str, rows: Sequence[Row], n: str) -> Figure:
    names = [key.removeprefix("mean_") for key in rows[0] if key.startswith("mean_")]
    emotions = in_order([name for name in names if rows[0][f"mean_{name}"] == rows[0][f"mean_{name}"]])
    ordered = sorted(rows, key=lambda row: emotions.index(str(row["emotion"])))
    means = np.array([[row[f"mean_{emotion}"] for emotion in emotions] for row in ordered], dtype=np.float64)
    labels = [f"{row['latent']:.0f}" for row in ordered]
    title = f"Latents by emotion, {site}"
    figure = draw(
        lambda ax: emotion_heat(means, labels, emotions, ax, title=title, note=f"{n}; {HEAT_NOTE}"),
        height_in=2.9,
    )
    alt = f"{title}: {len(labels)} latents, each strongest for the emotion it was chosen for. {HEAT_NOTE}."
    caption = "Chosen for being selective, so the picture shows what they are, not that they are."
    return Figure(figure_svg(figure, f"heat-{_letters(site)}", alt), caption)


def _letters(site: str) -> str:
    digits = str.maketrans("0123456789./_", "abcdefghij---")
    return site.translate(digits)


def _count_cells(rows: Sequence[Row]) -> tuple[tuple[Cell, ...], ...]:
    order = {name: place for place, name in enumerate(READINGS)}
    keys = ("n_units", "n_firing", "n_over_2", "n_over_4", "n_selective")
    return tuple(
        (Cell(READINGS[str(row["reading"])]), *(Cell(number(float(row[key]), 4)) for key in keys))
        for row in sorted(rows, key=lambda row: order[str(row["reading"])])
    )


def _top_cells(rows: Sequence[Row]) -> tuple[tuple[Cell, ...], ...]:
    def text(value: object) -> str:
        return value if isinstance(value, str) else "–"

    return tuple(
        (
            Cell(f"{row['latent']:.0f}"),
            Cell(text(row["description"])),
            Cell(number(row["ratio"], 2)),
            Cell(p_value(row["q"])),
            Cell(p_value(row["null_q"])),
            Cell(number(row["stability"], 2)),
            Cell(text(row["prompts"])),
            Cell(text(row["moments"])),
        )
        for row in rows[:N_ROWS]
    )
