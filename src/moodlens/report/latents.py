"""The chapter on `latents`: what single latents tell of emotion, and counts that describe the site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import (
    MUTED,
    SIGNAL,
    draw,
    figure_svg,
    headline,
    in_order,
)
from moodlens.report.formatting import Row, number, p_value, sample_size, share
from moodlens.report.latent_claims import claim_sentences, sparse_figure
from moodlens.report.latent_tables import claim_grids
from moodlens.report.records import Cell, Figure, Finding, Grid, cells


@dataclass(frozen=True)
class UnitCount:
    """One kind of unit: the share of its units above the ratios, and selective by the test."""

    name: str
    over_2: float
    over_4: float
    selective: float
    n_units: int


def unit_counts(counts: Sequence[UnitCount], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw the shares of units as bars, one row per kind of unit, the SAE first; return `ax`."""
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
    """Draw each latent's mean activation by emotion as a share of its largest; return `ax`.

    Args:
        means: (latent, emotion).
        latents: label of each latent.
        emotions: label of each emotion.
        ax: where to draw.
        title: above the axes.
        note: n and how the latents were chosen.
    """
    shares = means / np.maximum(means.max(axis=1, keepdims=True), 1e-12)
    ax.imshow(shares.T, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    ax.set_yticks(range(len(emotions)), list(emotions))
    ax.set_xticks(range(len(latents)), list(latents), rotation=90, fontsize=7.5)
    ax.grid(visible=False)
    headline(ax, title, note)
    ax.set_xlabel("latent")
    return ax


UNITS: Mapping[str, str] = {
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
"""Kind of unit (column `reading` of the counts) -> its name on the page, in this order."""

COUNT_COLUMNS = ("units", "number", "firing", "ratio > 2", "ratio > 4", "selective (FDR)")
TOP_COLUMNS = ("latent", "evidence", "ratio", "q", "q, null text", "in other seeds", "prompts", "moments")
COUNT_NOTE = (
    "A description, no evidence. Ratio: mean activation in the unit's best emotion over the mean of the "
    "others. Selective: ratio above 2 and a false discovery rate below the threshold, whole wordings "
    "relabelled. Where random directions or raw dimensions pass as often, emotion is widespread at the site; "
    "that the SAE found units for it is another question."
)
HEAT_NOTE = "share of each latent's largest mean; latents of the table below, sorted by emotion"
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
    for site, metrics_of_site in sites.items():
        rows = [row for row in counts if row["site"] == site]
        shown = [row for row in top if row["site"] == site]
        n = sample_size(metrics_of_site, "prompt", "wording")
        sparse = sparse_figure(site, metrics_of_site, n, f"latents-sparse-{_letters(site)}")
        figures += [figure for figure in (sparse, _count_figure(site, rows, n, fdr)) if figure is not None]
        if shown:
            figures.append(_heat_figure(site, shown, n))
        grids += claim_grids(site, metrics_of_site)
        grids.append(
            Grid(f"Selective units at {site}, {n}", COUNT_COLUMNS, _count_cells(rows), (COUNT_NOTE,))
        )
        if shown:
            grids.append(Grid(f"Latents to inspect, {site}", TOP_COLUMNS, _top_cells(shown)))
    return Finding(
        " ".join(_summary(site, units) for site, units in sites.items()), tuple(figures), tuple(grids)
    )


def _summary(site: str, units: Mapping[str, Any]) -> str:
    sentences = [f"{site}:", *claim_sentences(units)]
    if units.get("no_matched_control"):
        sentences.append(
            f"Removing all {int(units['n_selective'])} selective latents: {units['no_matched_control']}."
        )
    if units.get("held_out_kept") is not None:
        sentences.append(
            f"Of {int(units['held_out_chosen'])} latents chosen on the other wordings, "
            f"{share(units['held_out_kept'])} keep a ratio above 2 on held-out ones "
            f"(chance {share(units['held_out_chance'])})."
        )
    if "loss_recovered" in units:
        sentences.append(
            f"With the layer replaced by the SAE's reconstruction, {share(units['loss_recovered'], 1)} of "
            "the cross-entropy lost by replacing it by its mean is recovered."
        )
    return " ".join([*sentences, _counted(units)])


def _counted(units: Mapping[str, Any]) -> str:
    """Say how many latents are selective, as a description beside the same count elsewhere."""
    text = (
        f"{int(units['n_selective'])} of {int(units['n_latents'])} latents and "
        f"{int(units['untrained_sae_selective'])} of as many random directions are selective"
    )
    if "twin_sae_selective" in units:
        text += f", {int(units['twin_sae_selective'])} in the untrained twin's SAE"
    if "null_survive" in units:
        text += f", {int(units['null_survive'])} also under null text"
    return f"{text}: counts describe the site and are no evidence for an emotion in the SAE."


def _count_figure(site: str, rows: Sequence[Row], n: str, fdr: float) -> Figure:
    by_name = {str(row["reading"]): row for row in rows}
    counts = []
    for kind, name in UNITS.items():
        if kind in by_name:
            row = by_name[kind]
            over_2, over_4, selective = (
                float(row[key]) / row["n_units"] for key in ("n_over_2", "n_over_4", "n_selective")
            )
            counts.append(UnitCount(name, over_2, over_4, selective, int(row["n_units"])))
    title = f"Units that follow an emotion, {site}"
    note = f"{n}; whole wordings relabelled, FDR {fdr:g}; number of units in brackets"
    figure = draw(
        lambda ax: unit_counts(counts, ax, title=title, note=note), height_in=0.42 * len(counts) + 1.4
    )
    shares = "; ".join(f"{one.name} {share(one.selective)} selective" for one in counts)
    return Figure(figure_svg(figure, f"latents-{_letters(site)}", f"{title}: {shares}. {note}."), COUNT_NOTE)


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
    caption = "The latents were chosen for being selective, so the figure is no evidence that they are."
    return Figure(figure_svg(figure, f"latents-heat-{_letters(site)}", alt), caption)


def _letters(site: str) -> str:
    digits = str.maketrans("0123456789./_", "abcdefghij---")
    return site.translate(digits)


def _count_cells(rows: Sequence[Row]) -> tuple[tuple[Cell, ...], ...]:
    order = list(UNITS)
    keys = ("n_units", "n_firing", "n_over_2", "n_over_4", "n_selective")
    return tuple(
        cells(UNITS[str(row["reading"])], *(number(float(row[key]), 4) for key in keys))
        for row in sorted(rows, key=lambda row: order.index(str(row["reading"])))
    )


def _top_cells(rows: Sequence[Row]) -> tuple[tuple[Cell, ...], ...]:
    def text(value: object) -> str:
        return value if isinstance(value, str) else "–"

    return tuple(
        cells(
            f"{row['latent']:.0f}",
            text(row["description"]),
            number(row["ratio"], 2),
            p_value(row["q"]),
            p_value(row["null_q"]),
            number(row["stability"], 2),
            text(row["prompts"]),
            text(row["moments"]),
        )
        for row in rows[:N_ROWS]
    )
