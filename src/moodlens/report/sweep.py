"""Where emotion shows: the sweep over sites as a picture, a table and a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moodlens.plots.layers import Sweep, layer_sweep
from moodlens.plots.style import draw
from moodlens.plots.svg import figure_svg
from moodlens.report.metric_table import metric_figures, metric_grid
from moodlens.report.numbers import count, interval, magnitude, number, p_value, share
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.site_names import (
    Row,
    figure_id,
    hookpoint_name,
    layer_groups,
    long_name,
    of_families,
    short_name,
    twin_value,
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
