"""Every metric by layer: the map of the metrics beside its controls, and the table of one site."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.heat import shaded_cells
from moodlens.plots.style import draw, figure_svg
from moodlens.report.formatting import (
    Row,
    figure_id,
    interval,
    layer_groups,
    long_name,
    number,
    p_value,
    share,
    site_key,
)
from moodlens.report.records import Cell, Figure, Grid, cells, marked

NAMES = {
    "permanova": "PERMANOVA F",
    "cosine_raw": "cosine, raw",
    "cosine_centred": "cosine, centred",
    "euclidean": "Euclidean distance",
    "cka": "CKA, debiased",
    "cca": "CCA, R²",
    "mmd_linear": "MMD², linear",
    "mmd_rbf": "MMD², RBF",
    "energy": "energy distance",
    "wasserstein": "sliced Wasserstein",
    "dimensions": "differing dimensions",
    "permdisp": "PERMDISP F (spread)",
}
"""Metric -> its name on the page."""
CAPTION = (
    "Numbers: each metric in its own unit. Colour: how far above shuffled labels, full at the metric’s "
    "strongest cell. Cells without colour are not significant after the correction over all cells. Right: "
    "the controls, which are the same architecture untrained and Gaussian noise of the shape of a layer."
)
NOTE = (
    "p relabels whole wordings; maxT and BH run over all metrics and sites of the family. In a design of "
    "equal groups PERMANOVA, linear MMD and CKA order the relabellings identically, so they are one test "
    "under three names. Metrics without an interval have no valid bootstrap: a resample repeats units, and "
    "these metrics count the repeats as evidence. The intervals of MMD and energy distance are valid where "
    "there is an effect; at zero only p is. The ceiling is the same prompt with another seed."
)
COLUMNS = (
    "metric",
    "estimate",
    "interval",
    "share of ceiling",
    "shuffled labels, mean",
    "untrained twin",
    "random tensors",
    "p",
    "p, maxT",
    "q, BH",
)


@dataclass(frozen=True)
class MetricMap:
    """Metrics by site; arrays are (metric, site), NaN where not measured."""

    metrics: tuple[str, ...]  # rows, first on top
    sites: tuple[str, ...]  # columns
    estimate: np.ndarray  # in the units of each metric
    score: np.ndarray  # standard deviations of the shuffled labels
    certain: np.ndarray  # bool; significant after the correction over all cells


def metric_map(metrics: MetricMap, strongest: np.ndarray, ax: Axes, *, title: str, note: str) -> Axes:
    """Draw significant cells in colour, as strong as their score; return `ax`.

    Args:
        metrics: what is drawn; cells that are not significant have no colour.
        strongest: score of each metric at which the colour is full, (metric,).
        ax: where to draw.
        title: above the axes.
        note: n, what is shuffled, what the colour means.
    """
    strength = np.clip(metrics.score / np.maximum(strongest[:, None], 1e-9), 0, 1)
    shades = np.where(metrics.certain, 0.15 + 0.85 * strength, 0.0)
    return shaded_cells(
        metrics.estimate,
        shades,
        ax,
        title=title,
        note=note,
        row_labels=metrics.metrics,
        column_labels=metrics.sites,
    )


def metric_figures(rows: Sequence[Row], alpha: float, size: str) -> tuple[Figure, ...]:
    """Return the map of each kind of layer beside its untrained twin and the random tensors.

    Args:
        rows: metrics/signal_metrics.csv.
        alpha: level at which a cell is significant.
        size: n, for the note.
    """
    noise = [row for row in rows if row["model"] == "random"]
    twins = layer_groups([{**row, "family": "layers"} for row in rows if row["family"] == "twin_layers"])
    figures = []
    for name, group in layer_groups(rows).items():
        model = _map(group, alpha)
        controls = _map([*twins.get(name, []), *noise], alpha)
        strongest = np.nanmax(np.hstack([model.score, controls.score]), axis=1)
        title, note = f"Metrics by layer, {name}", f"{size}; colour: p < {alpha:g} (maxT)"

        def fill(left, right, model=model, controls=controls, strongest=strongest, title=title, note=note):
            metric_map(model, strongest, left, title=title, note=note)
            metric_map(controls, strongest, right, title="Controls", note="untrained twin by layer; noise")
            right.set_yticks([])
            left.set_xlabel("decoder layer")

        figure = draw(fill, n_axes=2, height_in=4.6)
        counts = [
            f"{metric} {int(certain.sum())} of {len(certain)}"
            for metric, certain in zip(model.metrics, model.certain, strict=True)
        ]
        alt = f"{title}: significant layers, by metric: {'; '.join(counts)}. {note}."
        figures.append(Figure(figure_svg(figure, figure_id("signal-metrics", name), alt), CAPTION))
    return tuple(figures)


def _map(rows: Sequence[Row], alpha: float) -> MetricMap:
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    sites = list(dict.fromkeys(_label(row) for row in rows))
    shape = (len(metrics), len(sites))
    estimate, score, certain = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    for row in rows:
        at = metrics.index(row["metric"]), sites.index(_label(row))
        estimate[at], score[at], certain[at] = row["estimate"], row["score"], row["p_maxt"] < alpha
    return MetricMap(tuple(NAMES[name] for name in metrics), tuple(sites), estimate, score, certain)


def _label(row: Row) -> str:
    return "noise" if row["model"] == "random" else f"{row['layer']:.0f}"


def metric_grid(rows: Sequence[Row], best: str, alpha: float, size: str) -> Grid:
    """Return every metric at one site with its interval, its null and its controls.

    Args:
        rows: metrics/signal_metrics.csv.
        best: the site, `<hookpoint>.<layer>/<half>`.
        alpha: level at which a metric is significant.
        size: n, for the caption.
    """
    shown = [row for row in rows if row["family"] == "layers" and site_key(row) == best]
    twin = {row["metric"]: row for row in rows if row["family"] == "twin_layers" and site_key(row) == best}
    noise = {row["metric"]: row for row in rows if row["model"] == "random"}
    lines = tuple(
        _cells(row, twin.get(row["metric"]), noise.get(row["metric"]), alpha=alpha) for row in shown
    )
    site = long_name(shown[0]) if shown else best
    return Grid(f"Every metric at {site}, {size}", COLUMNS, lines, (NOTE,))


def _cells(row: Row, twin: Row | None, noise: Row | None, *, alpha: float) -> tuple[Cell, ...]:
    return (
        Cell(NAMES[row["metric"]]),
        marked(number(row["estimate"]), row["p_maxt"] < alpha),
        *cells(
            interval(row["low"], row["high"]),
            share(row["ceiling_fraction"]),
            number(row["shuffled_mean"]),
            number(None if twin is None else twin["estimate"]),
            number(None if noise is None else noise["estimate"]),
            *(p_value(row[key]) for key in ("p", "p_maxt", "q_bh")),
        ),
    )
