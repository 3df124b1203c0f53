"""Site x metric: the map of every metric over the layers, and the table behind it with its controls."""

from collections.abc import Sequence

import numpy as np

from moodlens.plots.metrics import MetricMap, metric_map
from moodlens.plots.style import draw
from moodlens.plots.svg import figure_svg
from moodlens.report.numbers import interval, number, p_value, share
from moodlens.report.records import Cell, Figure, Grid
from moodlens.report.site_names import Row, figure_id, layer_groups, long_name

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
CAPTION = (
    "Numbers: each metric in its own unit. Colour: how far above shuffled labels, full at the metric’s "
    "strongest cell; no colour: not certain after the correction over all cells. Beside it the controls: "
    "the same architecture untrained, and Gaussian numbers in the shape of a layer."
)
NOTE = (
    "p relabels whole wordings; maxT and BH run over all metrics and sites of the family. In a design of "
    "equal groups PERMANOVA, linear MMD and CKA order the relabellings alike: three names, one test. Metrics "
    "without an interval have no valid bootstrap: a resample repeats units, which they count as evidence. "
    "MMD and energy intervals hold where there is an effect; at zero only p speaks. The ceiling is the same "
    "prompt with another seed."
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


def metric_figures(rows: Sequence[Row], alpha: float, size: str) -> tuple[Figure, ...]:
    """Return the map of each kind of layer beside its twin and the random tensors.

    Args:
        rows: metrics/signal_metrics.csv.
        alpha: level at which a cell counts as certain.
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
        said = [
            f"{metric} {int(sure.sum())} of {len(sure)}"
            for metric, sure in zip(model.metrics, model.certain, strict=True)
        ]
        alt = f"{title}: layers that are certain, by metric: {'; '.join(said)}. {note}."
        figures.append(Figure(figure_svg(figure, figure_id("metrics", name), alt), CAPTION))
    return tuple(figures)


def _map(rows: Sequence[Row], alpha: float) -> MetricMap:
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    sites = list(dict.fromkeys(_column(row) for row in rows))
    shape = (len(metrics), len(sites))
    estimate, score, certain = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    for row in rows:
        at = metrics.index(row["metric"]), sites.index(_column(row))
        estimate[at], score[at], certain[at] = row["estimate"], row["score"], row["p_maxt"] < alpha
    return MetricMap(tuple(NAMES[name] for name in metrics), tuple(sites), estimate, score, certain)


def _column(row: Row) -> str:
    return "noise" if row["model"] == "random" else f"{row['layer']:.0f}"


def metric_grid(rows: Sequence[Row], best: str, alpha: float, size: str) -> Grid:
    """Return every metric at one site with its interval, its null and its controls.

    Args:
        rows: metrics/signal_metrics.csv.
        best: the site, `<hookpoint>.<layer>/<half>`.
        alpha: level at which a cell counts as certain.
        size: n, for the caption.
    """
    shown = [row for row in rows if row["family"] == "layers" and _key(row) == best]
    twin = {row["metric"]: row for row in rows if row["family"] == "twin_layers" and _key(row) == best}
    noise = {row["metric"]: row for row in rows if row["model"] == "random"}
    cells = tuple(_cells(row, twin.get(row["metric"]), noise.get(row["metric"]), alpha) for row in shown)
    site = long_name(shown[0]) if shown else best
    return Grid(f"Every metric at {site}, {size}", COLUMNS, cells, (NOTE,))


def _key(row: Row) -> str:
    return f"{row['site']}.{row['layer']:.0f}/{row['half']}"


def _cells(row: Row, twin: Row | None, noise: Row | None, alpha: float) -> tuple[Cell, ...]:
    return (
        Cell(NAMES[row["metric"]]),
        Cell(number(row["estimate"]), "strong" if row["p_maxt"] < alpha else ""),
        Cell(interval(row["low"], row["high"])),
        Cell(share(row["ceiling_fraction"])),
        Cell(number(row["shuffled_mean"])),
        Cell(number(None if twin is None else twin["estimate"])),
        Cell(number(None if noise is None else noise["estimate"])),
        *(Cell(p_value(row[key])) for key in ("p", "p_maxt", "q_bh")),
    )
