"""The chapter on `temporal`: separation over time, early against late, and the rhythm of the states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import (
    INK,
    MUTED,
    SIGNAL,
    colour_of,
    draw,
    figure_svg,
    headline,
    in_order,
    label_apart,
    null_line,
)
from moodlens.report.formatting import (
    Row,
    column,
    figure_id,
    hookpoint_name,
    interval,
    long_name,
    number,
    p_value,
    sample_size,
    share,
    site_key,
)
from moodlens.report.records import Cell, Figure, Finding, Grid, cells, marked

LANE = 0.035
"""Height of the lane in which one layer's clusters are drawn, as a share of the axes."""


@dataclass(frozen=True)
class LayerTime:
    """One layer's separation over time; arrays are (window,)."""

    name: str
    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    in_cluster: np.ndarray  # bool; the window lies in a significant cluster


def separation_over_time(
    layers: tuple[LayerTime, ...], times_s: np.ndarray, ax: Axes, *, title: str, note: str, unit: str
) -> Axes:
    """Draw each layer's effect over time and its clusters as bars below; return `ax`.

    Later layers are darker. The interval is drawn for the last layer only, because intervals would overlap.
    """
    shades = np.linspace(0.3, 1.0, len(layers))
    for layer, shade in zip(layers, shades, strict=True):
        ax.plot(times_s, layer.effect, color=SIGNAL, alpha=shade, linewidth=1.5, zorder=3)
    last = layers[-1]
    ax.fill_between(times_s, last.low, last.high, color=SIGNAL, alpha=0.15, linewidth=0, zorder=2)
    top = max(float(layer.effect.max()) for layer in layers)
    bottom = min(0.0, *(float(layer.effect.min()) for layer in layers))
    lane = LANE * (top - bottom)
    half = (times_s[1] - times_s[0]) / 2
    for lane_index, (layer, shade) in enumerate(zip(layers, shades, strict=True)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], layer.in_cluster.astype(int), [0]])))
        for start, stop in edges.reshape(-1, 2):
            y = bottom - lane * (lane_index + 2)
            ax.hlines(
                y, times_s[start] - half, times_s[stop - 1] + half, color=SIGNAL, alpha=shade, linewidth=3
            )
    null_line(ax, 0.0)
    ax.set_ylim(bottom - lane * (len(layers) + 2), top * 1.08)
    ax.set_xlim(0, times_s[-1] + half)
    ends = {layers[0].name: (float(layers[0].effect[-3:].mean()), SIGNAL)}
    ends[last.name] = (float(last.effect[-3:].mean()), SIGNAL)
    label_apart(
        ax, {**ends, "no effect": (0.0, MUTED), "clusters": (bottom - lane * (len(layers) / 2 + 1.5), MUTED)}
    )
    headline(ax, title, note)
    ax.set_ylabel(unit)
    ax.set_xlabel("time of decoding, s")
    return ax


def spectra_by_emotion(
    frequencies_hz: np.ndarray,
    power: Mapping[str, np.ndarray],
    tempo_hz: Mapping[str, float],
    ax: Axes,
    *,
    title: str,
    note: str,
) -> Axes:
    """Draw each emotion's power spectrum and mark the tempo measured in its clips; return `ax`.

    Args:
        frequencies_hz: of the spectra.
        power: emotion -> (frequency,) share of the power per Hz.
        tempo_hz: emotion -> median tempo of its clips, beats per second.
        ax: where to draw.
        title: above the axes.
        note: n.
    """
    emotions = in_order(list(power))
    for emotion in emotions:
        ax.plot(frequencies_hz, power[emotion], color=colour_of(emotion), linewidth=1.6, label=emotion)
    top = max(float(values.max()) for values in power.values())
    for emotion in emotions:
        if emotion in tempo_hz:
            ax.plot(
                tempo_hz[emotion],
                top * 1.06,
                marker="v",
                markersize=8,
                color=colour_of(emotion),
                markeredgecolor=INK,
                markeredgewidth=0.5,
                linestyle="none",
            )
    ax.set_xlim(0, float(frequencies_hz[-1]))
    ax.set_ylim(0, top * 1.13)
    ax.legend(frameon=False, loc="upper right", fontsize=8.5)
    headline(ax, title, note)
    ax.set_xlabel("frequency, Hz (1 Hz is 60 beats per minute)")
    ax.set_ylabel("share of power per Hz")
    return ax


CAPTION_TIME = (
    "How much more similar wordings of one emotion are than wordings of different emotions, window by "
    "window. Every layer reads the text at every step, so separation at the first steps comes from the "
    "prompt; the music hardly differs yet. A bar below marks a cluster: there is an effect somewhere in it. "
    "Where a cluster begins is no estimate of when the effect begins. The untrained twin’s states are not "
    "stored step by step, so it is not drawn."
)
CAPTION_SPECTRA = (
    "Power of the states’ leading components over frequency, by emotion; triangles: the median tempo "
    "measured in the audio. A state that follows the beat has power there. This shows rhythm in the states, "
    "not that emotion causes it."
)
NOTE_CHANGE = (
    "Change: late minus early effect, first and last tenth of the steps. Its p flips the sign of whole "
    "wordings’ contributions, corrected by maxT over the layers. The distance between emotions is "
    "crossvalidated over wordings and grows with the norm of the states; the effect does not."
)
NOTE_TEMPO = (
    "At tempo: share of clips whose strongest frequency between 50 and 200 per minute is the measured "
    "tempo within 8 %; chance pairs clips with tempos of other wordings of the same emotion. Its p "
    "exchanges tempos within each emotion, so an emotion’s typical tempo alone cannot make it small."
)
NAMES = {
    "magnitude": "norm",
    "variance": "variance over time",
    "centroid_components_hz": "spectral centroid, Hz",
    "peak_components_hz": "strongest frequency, Hz",
    "centroid_norm_hz": "spectral centroid of the norm, Hz",
    "peak_norm_hz": "strongest frequency of the norm, Hz",
}
FIXED = {"site", "layer", "half", "reading", "ratio", "share", "f", "p", "p_maxt"}


def temporal_finding(
    metrics: Mapping[str, Any],
    steps: Sequence[Row],
    layers: Sequence[Row],
    scalars: Sequence[Row],
    spectra: Sequence[Row],
    tempo_hz: Mapping[str, float],
    alpha: float,
    confidence: float,
) -> Finding:
    """Return separation over time, early against late, and rhythm.

    Args:
        metrics: metrics/temporal.json.
        steps: metrics/temporal_steps.csv.
        layers: metrics/temporal_layers.csv.
        scalars: metrics/temporal_readings.csv.
        spectra: metrics/temporal_spectra.csv.
        tempo_hz: median measured tempo of each emotion, beats per second.
        alpha: level at which a cluster is significant.
        confidence: of the intervals.
    """
    size = sample_size(metrics, "wording", "clip")
    groups: dict[str, list[Row]] = {}
    for row in steps:
        groups.setdefault(f"{row['site']} · {row['half']}", []).append(row)
    figures = [_over_time(name, rows, size, alpha, confidence) for name, rows in groups.items()]
    figures.append(_spectra(metrics, spectra, tempo_hz, size))
    return Finding(
        _summary(metrics, alpha), tuple(figures), (_changes(layers, size), _scalars(scalars, size, alpha))
    )


def _summary(metrics: Mapping[str, Any], alpha: float) -> str:
    p = metrics["cluster_p"]
    where = (
        f"Clusters at p < {alpha:g} cover {share(metrics['covered'])} of the windows of all layers."
        if p < alpha
        else f"No cluster reaches p < {alpha:g} (smallest {p_value(p)})."
    )
    changed = metrics["change_p"] < alpha
    bounds = interval(metrics["change_low"], metrics["change_high"])
    change = (
        f"The largest change from the first to the last tenth is {number(metrics['change'])} {bounds} at "
        f"{hookpoint_name(metrics['change_site'])}, p {p_value(metrics['change_p'])}: "
        + ("separation changes over time." if changed else "no change is shown.")
    )
    tempo = (
        f"At {hookpoint_name(metrics['tempo_site'])} the states’ strongest frequency is the measured tempo "
        f"in {share(metrics['tempo_hits'])} of the clips ({share(metrics['tempo_hits_chance'])} with tempos "
        f"of other clips of the emotion, {share(metrics['tempo_hits_tokens'])} for the changes of the token "
        f"stream; p {p_value(metrics['tempo_p'])})."
    )
    return f"{where} {change} {tempo}"


def _over_time(name: str, rows: Sequence[Row], size: str, alpha: float, confidence: float) -> Figure:
    numbers = sorted({int(row["layer"]) for row in rows})
    drawn = []
    for layer in numbers:
        own = [row for row in rows if row["layer"] == layer]
        effect, low, high, p = (column(own, key) for key in ("effect", "low", "high", "p_cluster"))
        drawn.append(LayerTime(f"layer {layer}", effect, low, high, in_cluster=p < alpha))
    times_s = column([row for row in rows if row["layer"] == numbers[0]], "time_s")
    title = f"Emotion effect over time, {name}"
    note = (
        f"{size}; darker: later layers; band: {share(confidence)} bootstrap over wordings, "
        f"layer {numbers[-1]}; bars: clusters, p < {alpha:g}"
    )
    figure = draw(
        lambda ax: separation_over_time(
            tuple(drawn), times_s, ax, title=title, note=note, unit="within − between similarity, centred"
        )
    )
    ranges = "; ".join(
        f"{layer.name} {number(float(layer.effect.min()))} to {number(float(layer.effect.max()))}"
        for layer in drawn
    )
    return Figure(
        figure_svg(figure, figure_id("temporal", name), f"{title}: {ranges}. {note}."), CAPTION_TIME
    )


def _spectra(
    metrics: Mapping[str, Any], rows: Sequence[Row], tempo_hz: Mapping[str, float], size: str
) -> Figure:
    chosen = [row for row in rows if site_key(row) == metrics["tempo_site"]]
    frequencies = column(chosen, "frequency_hz")
    power = {emotion: column(chosen, emotion) for emotion in chosen[0] if emotion in tempo_hz}
    title = f"Rhythm of the states, {hookpoint_name(metrics['tempo_site'])}"
    figure = draw(
        lambda ax: spectra_by_emotion(frequencies, power, tempo_hz, ax, title=title, note=f"{size}; means")
    )
    peaks = ", ".join(
        f"{name} strongest at {number(float(frequencies[values.argmax()]), 2)} Hz, tempo "
        f"{number(tempo_hz[name], 2)} Hz"
        for name, values in power.items()
    )
    return Figure(figure_svg(figure, "temporal-spectra", f"{title}: {peaks}."), CAPTION_SPECTRA)


def _changes(layers: Sequence[Row], size: str) -> Grid:
    columns = (
        "site",
        "early effect",
        "late effect",
        "change",
        "interval",
        "p, maxT",
        "late / early distance",
        "interval",
        "at tempo",
        "chance",
        "p, maxT",
    )
    rows = tuple(
        cells(
            long_name({**row, "model": "model"}),
            number(row["early"]),
            number(row["late"]),
            number(row["change"]),
            interval(row["low"], row["high"]),
            p_value(row["p_maxt"]),
            number(row["distance_ratio"]),
            interval(row["distance_ratio_low"], row["distance_ratio_high"]),
            share(row["tempo_hits_components"]),
            share(row["tempo_chance_components"]),
            p_value(row["tempo_p_components"]),
        )
        for row in layers
    )
    return Grid(f"Early, late and tempo by layer, {size}", columns, rows, (NOTE_CHANGE, NOTE_TEMPO))


def _scalars(rows: Sequence[Row], size: str, alpha: float) -> Grid:
    emotions = [name for name in rows[0] if name not in FIXED]
    columns = ("site", "measurement", *emotions, "largest / smallest", "share of variance", "p, maxT")
    lines = tuple(
        (
            *cells(long_name({**row, "model": "model"}), NAMES[row["reading"]]),
            *cells(*(number(row[emotion]) for emotion in emotions), number(row["ratio"])),
            marked(share(row["share"]), row["p_maxt"] < alpha),
            Cell(p_value(row["p_maxt"])),
        )
        for row in rows
    )
    note = "One number per clip, tested over wordings; p relabels whole wordings, maxT over all rows."
    return Grid(f"Magnitude, variance and spectra by emotion, {size}", columns, lines, (note,))
