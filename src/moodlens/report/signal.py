"""Every metric at every layer: where it sees emotion, and how far above shuffled labels.

Site x metric: the map of every metric over the layers, and the table behind it with its controls.

Where emotion shows: the sweep over sites as a picture, a table and a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from moodlens.plots.layers import Sweep, layer_sweep
from moodlens.plots.style import INK, MUTED, PAPER, RULE, SIGNAL, draw, figure_svg, headline
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.wording import (
    Row,
    count,
    figure_id,
    hookpoint_name,
    interval,
    layer_groups,
    long_name,
    magnitude,
    number,
    of_families,
    p_value,
    share,
    short_name,
    twin_value,
)

MOST_TEXTS = 12
"""Columns above which cells are too narrow for numbers."""


@dataclass(frozen=True)
class MetricMap:
    """Metrics by site; arrays are (metric, site), NaN where not measured."""

    metrics: tuple[str, ...]  # rows, first on top
    sites: tuple[str, ...]  # columns
    estimate: np.ndarray  # in the units of each metric
    score: np.ndarray  # standard deviations of the shuffled labels
    certain: np.ndarray  # bool; significant after the correction over all cells


def metric_map(found: MetricMap, strongest: np.ndarray, ax: Axes, *, title: str, note: str) -> Axes:
    """Draw the cells that are certain in colour, as strong as their score; return `ax`.

    Args:
        found: what is drawn; cells that are not certain stay without colour.
        strongest: score of each metric at which the colour is full, (metric,).
        ax: where to draw.
        title: above the axes.
        note: n, what is shuffled, what the colour means.
    """
    n_metrics, n_sites = found.score.shape
    strength = np.clip(found.score / np.maximum(strongest[:, None], 1e-9), 0, 1)
    for row in range(n_metrics):
        for column in range(n_sites):
            sure = bool(found.certain[row, column])
            shade = 0.15 + 0.85 * float(strength[row, column]) if sure else 0.0
            corner = (column - 0.47, row - 0.46)
            face = SIGNAL if sure else "none"
            ax.add_patch(
                Rectangle(corner, 0.94, 0.92, facecolor=face, alpha=shade if sure else None, edgecolor="none")
            )
            ax.add_patch(Rectangle(corner, 0.94, 0.92, facecolor="none", edgecolor=RULE, linewidth=0.7))
            if n_sites <= MOST_TEXTS and np.isfinite(found.estimate[row, column]):
                colour = MUTED if not sure else PAPER if shade > 0.6 else INK
                said = f"{round(float(found.estimate[row, column]), 2) + 0.0:.2f}"  # no minus zero
                ax.text(column, row, said, ha="center", va="center", fontsize=7.5, color=colour)
    ax.set_xlim(-0.5, n_sites - 0.5)
    ax.set_ylim(n_metrics - 0.5, -0.5)
    ax.set_xticks(range(n_sites), found.sites)
    ax.set_yticks(range(n_metrics), found.metrics)
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    headline(ax, title, note)
    return ax


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
METRIC_CAPTION = (
    "Numbers: each metric in its own unit. Colour: how far above shuffled labels, full at the metric’s "
    "strongest cell; no colour: not certain after the correction over all cells. Beside it the controls: "
    "the same architecture untrained, and Gaussian numbers in the shape of a layer."
)
METRIC_NOTE = (
    "p relabels whole wordings; maxT and BH run over all metrics and sites of the family. In a design of "
    "equal groups PERMANOVA, linear MMD and CKA order the relabellings alike: three names, one test. Metrics "
    "without an interval have no valid bootstrap: a resample repeats units, which they count as evidence. "
    "MMD and energy intervals hold where there is an effect; at zero only p speaks. The ceiling is the same "
    "prompt with another seed."
)
METRIC_COLUMNS = (
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
        figures.append(Figure(figure_svg(figure, figure_id("metrics", name), alt), METRIC_CAPTION))
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
    cells = tuple(
        _metric_cells(row, twin.get(row["metric"]), noise.get(row["metric"]), alpha) for row in shown
    )
    site = long_name(shown[0]) if shown else best
    return Grid(f"Every metric at {site}, {size}", METRIC_COLUMNS, cells, (METRIC_NOTE,))


def _key(row: Row) -> str:
    return f"{row['site']}.{row['layer']:.0f}/{row['half']}"


def _metric_cells(row: Row, twin: Row | None, noise: Row | None, alpha: float) -> tuple[Cell, ...]:
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


BEFORE, AFTER = ("words", "text", "projected"), ("music",)
"""Families of sites before and after the decoder's layers, in the order in which a prompt becomes music."""

CAPTION = (
    "How much more alike prompts of one emotion are than prompts of different emotions, from the words to "
    "the music. Squares: the same architecture untrained. Values compare along the layers; between kinds of "
    "sites only their being above zero does."
)
NOTE = (
    "p relabels whole prompts, or whole wordings where the column says so; maxT and BH run over the sites "
    "of one family. Clips of one prompt resemble each other, which the t-test ignores: it is shown because "
    "it is common, and decides nothing."
)
COLUMNS = (
    "site",
    "effect",
    "interval",
    "share of ceiling",
    "ICC",
    "p",
    "p, maxT",
    "q, BH",
    "p, maxT, by wording",
    "raw effect",
    "t-test p: descriptive, not valid",
)


def layers_finding(
    signal: Mapping[str, Any],
    rows: Sequence[Row],
    decided: Mapping[str, Any] | None,
    alpha: float,
    confidence: float,
    metric_rows: Sequence[Row] = (),
) -> Finding:
    """Return the sweep over sites, and over metrics where there is one.

    Args:
        signal: metrics/signal.json.
        rows: metrics/signal_layers.csv.
        decided: the finding `layers` of metrics/decide.json.
        alpha: level at which a site counts as certain.
        confidence: of the intervals.
        metric_rows: metrics/signal_metrics.csv.
    """
    size = f"{count(signal['n_prompts'], 'prompt')}, {count(signal['n_clips'], 'clip')}"
    note = (
        f"{size}; bars: {share(confidence)} bootstrap over prompts; "
        f"filled: p < {alpha:g} after maxT, prompts relabelled"
    )
    groups = layer_groups(rows) or {"": []}
    figures = tuple(_figure(name, group, rows, alpha, note) for name, group in groups.items())
    grid = Grid(f"Effect by site, {size}", COLUMNS, tuple(_cells(row, alpha) for row in rows), (NOTE,))
    grids = [grid]
    if metric_rows and "layers" in signal:
        units = f"{count(signal['n_wordings'], 'wording')} of {size}"
        figures += metric_figures(metric_rows, alpha, units)
        grids.append(metric_grid(metric_rows, signal["layers"]["best"], alpha, units))
    verdict, rule = (decided["verdict"], decided["rule"]) if decided else ("", "")
    return Finding(_summary(signal, rows, alpha), figures, tuple(grids), verdict, rule)


def _summary(signal: Mapping[str, Any], rows: Sequence[Row], alpha: float) -> str:
    model = [row for row in rows if row["model"] == "model"]
    certain = sum(row["p_maxt"] < alpha for row in model)
    said = f"{certain} of {count(len(model), 'site')} show emotion at p < {alpha:g} after maxT."
    if "layers" not in signal:
        return said
    best = signal["layers"]
    ceiling = f", {share(best['ceiling_fraction'])} of the noise ceiling" if best["ceiling_fraction"] else ""
    return (
        f"Of the decoder’s layers {hookpoint_name(best['best'])} stands out most: "
        f"effect {number(best['effect'])} {interval(best['effect_low'], best['effect_high'])}{ceiling}; "
        f"the untrained twin shows {number(best['twin_effect'])} there. {said}"
    )


def _figure(name: str, layers: Sequence[Row], rows: Sequence[Row], alpha: float, note: str) -> Figure:
    shown = [*of_families(rows, BEFORE), *layers, *of_families(rows, AFTER)]
    labels = tuple(short_name(row) for row in shown)
    sweep = Sweep(
        labels=labels,
        in_decoder=np.array([row["family"] == "layers" for row in shown], dtype=bool),
        effect=np.array([row["effect"] for row in shown], dtype=np.float64),
        low=np.array([row["low"] for row in shown], dtype=np.float64),
        high=np.array([row["high"] for row in shown], dtype=np.float64),
        certain=np.array([row["p_maxt"] < alpha for row in shown], dtype=bool),
        twin=np.array([twin_value(row, rows, "effect") for row in shown]),
    )
    title = f"Emotion effect by site, {name}" if name else "Emotion effect by site"
    unit = "within − between similarity, centred"
    figure = draw(lambda ax: layer_sweep(sweep, ax, title=title, note=note, unit=unit))
    points = ", ".join(f"{label} {number(value)}" for label, value in zip(labels, sweep.effect, strict=True))
    return Figure(figure_svg(figure, figure_id("sweep", name), f"{title}: {points}. {note}."), CAPTION)


def _cells(row: Row, alpha: float) -> tuple[Cell, ...]:
    texts = (
        interval(row["low"], row["high"]),
        share(row["ceiling_fraction"]),
        number(row["icc"], 2),
        *(p_value(row[key]) for key in ("p", "p_maxt", "q_bh", "p_wording_maxt")),
        number(row["effect_raw"]),
    )
    return (
        Cell(long_name(row)),
        Cell(number(row["effect"]), "strong" if row["p_maxt"] < alpha else ""),
        *(Cell(text) for text in texts),
        Cell(magnitude(row["naive_p_descriptive"]), "void"),
    )
