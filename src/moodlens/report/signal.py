"""The chapter on `signal`: how strongly emotion separates the prompts at each site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import (
    MUTED,
    PAPER,
    SIGNAL,
    TWIN,
    bars,
    draw,
    figure_svg,
    headline,
    label_apart,
    null_line,
    sites_axis,
)
from moodlens.report.formatting import (
    Row,
    column,
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
    sample_size,
    share,
    short_name,
    twin_value,
)
from moodlens.report.records import Cell, Figure, Finding, Grid, cells, marked
from moodlens.report.signal_metrics import metric_figures, metric_grid

BEFORE, AFTER = ("words", "text", "projected"), ("music",)
"""Families of sites before and after the decoder's layers, in the order in which a prompt becomes music."""

CAPTION = (
    "How much more similar prompts of one emotion are than prompts of different emotions, from the words to "
    "the music. Squares: the same architecture untrained. Values are comparable along the layers; between "
    "kinds of sites, only whether they are above zero is."
)
NOTE = (
    "p relabels whole wordings; of the words, which are the check of the design, whole prompts. maxT and BH "
    "run over the sites of one family; the interval resamples the same unit. Clips of one prompt resemble "
    "each other, which the t-test ignores. The t-test is shown because it is common; no verdict uses it."
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
    "unit",
    "raw effect",
    "t-test p: descriptive, not valid",
)


@dataclass(frozen=True)
class Sweep:
    """An effect at each site; every array is (site,), NaN where it was not measured."""

    labels: tuple[str, ...]  # the tick of each site, in order
    in_decoder: np.ndarray  # bool; decoder layers are joined by a line, other sites are not
    effect: np.ndarray  # within - between similarity, centred
    low: np.ndarray
    high: np.ndarray
    certain: np.ndarray  # bool; significant after maxT over the whole family
    twin: np.ndarray  # effect in the untrained twin


def site_sweep(sweep: Sweep, ax: Axes, *, title: str, note: str, unit: str) -> Axes:
    """Draw the effect with its interval by site, beside the untrained twin and the null line; return `ax`.

    A filled point is significant after the correction over all sites, a hollow one is not.
    """
    x = np.arange(len(sweep.labels))
    layers = x[sweep.in_decoder]
    for sites, line in ((layers, "-"), (x[~sweep.in_decoder], "none")):
        ax.plot(sites, sweep.twin[sites], color=TWIN, linestyle=line, marker="s", markersize=4, linewidth=1.3)
        ax.plot(sites, sweep.effect[sites], color=SIGNAL, linestyle=line, linewidth=1.8, zorder=3)
    bars(ax, x, sweep.effect, sweep.low, sweep.high, SIGNAL)
    faces = np.where(sweep.certain, SIGNAL, PAPER)
    ax.scatter(x, sweep.effect, s=44, c=faces, edgecolors=SIGNAL, linewidths=1.6, zorder=5)
    sites_axis(ax, list(sweep.labels))
    null_line(ax, 0.0)
    last = int(layers[-1]) if len(layers) else len(x) - 1
    ends = {
        "model": (sweep.effect[last], SIGNAL),
        "untrained twin": (sweep.twin[last], TWIN),
        "no effect": (0.0, MUTED),
    }
    label_apart(ax, {name: end for name, end in ends.items() if np.isfinite(end[0])})
    headline(ax, title, note)
    ax.set_ylabel(unit)
    only_layers = len(layers) == len(x)
    ax.set_xlabel(
        "decoder layer" if only_layers else "from the words through the decoder layers to the music"
    )
    return ax


def signal_finding(
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
        alpha: level at which a site is significant.
        confidence: of the intervals.
        metric_rows: metrics/signal_metrics.csv.
    """
    size = sample_size(signal, "prompt", "clip")
    note = (
        f"{size}; bars: {share(confidence)} bootstrap over wordings; "
        f"filled: p < {alpha:g} after maxT, wordings relabelled (of the words: prompts)"
    )
    groups = layer_groups(rows) or {"": []}
    figures = tuple(_figure(name, group, rows, alpha, note) for name, group in groups.items())
    grids = [Grid(f"Effect by site, {size}", COLUMNS, tuple(_cells(row, alpha) for row in rows), (NOTE,))]
    if metric_rows and "layers" in signal:
        units = f"{count(signal['n_wordings'], 'wording')} of {size}"
        figures += metric_figures(metric_rows, alpha, units)
        grids.append(metric_grid(metric_rows, signal["layers"]["best"], alpha, units))
    verdict, rule = (decided["verdict"], decided["rule"]) if decided else ("", "")
    return Finding(_summary(signal, rows, alpha), figures, tuple(grids), verdict, rule)


def _summary(signal: Mapping[str, Any], rows: Sequence[Row], alpha: float) -> str:
    model = [row for row in rows if row["model"] == "model"]
    certain = sum(row["p_maxt"] < alpha for row in model)
    counted = f"{certain} of {count(len(model), 'site')} show emotion at p < {alpha:g} after maxT."
    if "layers" not in signal:
        return counted
    best = signal["layers"]
    ceiling = f", {share(best['ceiling_fraction'])} of the noise ceiling" if best["ceiling_fraction"] else ""
    return (
        f"Of the decoder’s layers, {hookpoint_name(best['best'])} has the largest standardised statistic: "
        f"effect {number(best['effect'])} {interval(best['effect_low'], best['effect_high'])}{ceiling}; "
        f"the effect in the untrained twin there is {number(best['twin_effect'])}. {counted}"
    )


def _figure(name: str, layers: Sequence[Row], rows: Sequence[Row], alpha: float, note: str) -> Figure:
    shown = [*of_families(rows, BEFORE), *layers, *of_families(rows, AFTER)]
    labels = tuple(short_name(row) for row in shown)
    sweep = Sweep(
        labels=labels,
        in_decoder=np.array([row["family"] == "layers" for row in shown], dtype=bool),
        effect=column(shown, "effect"),
        low=column(shown, "low"),
        high=column(shown, "high"),
        certain=np.array([row["p_maxt"] < alpha for row in shown], dtype=bool),
        twin=np.array([twin_value(row, rows, "effect") for row in shown]),
    )
    title = f"Emotion effect by site, {name}" if name else "Emotion effect by site"
    unit = "within − between similarity, centred"
    figure = draw(lambda ax: site_sweep(sweep, ax, title=title, note=note, unit=unit))
    points = ", ".join(f"{label} {number(value)}" for label, value in zip(labels, sweep.effect, strict=True))
    return Figure(figure_svg(figure, figure_id("signal", name), f"{title}: {points}. {note}."), CAPTION)


def _cells(row: Row, alpha: float) -> tuple[Cell, ...]:
    return (
        Cell(long_name(row)),
        marked(number(row["effect"]), row["p_maxt"] < alpha),
        *cells(
            interval(row["low"], row["high"]),
            share(row["ceiling_fraction"]),
            number(row["icc"], 2),
            *(p_value(row[key]) for key in ("p", "p_maxt", "q_bh")),
            row["unit"],
            number(row["effect_raw"]),
        ),
        Cell(magnitude(row["naive_p_descriptive"]), "void"),
    )
