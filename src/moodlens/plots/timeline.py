"""Over time: separation by layer with its clusters, and power spectra by emotion."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.layers import label_apart
from moodlens.plots.style import INK, MUTED, SIGNAL, colour_of, headline, in_order, null_line

LANE = 0.035
"""Height of one layer's lane of clusters, as a share of the axes."""


@dataclass(frozen=True)
class LayerTime:
    """One layer's separation over time; arrays are (window,)."""

    name: str
    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    found: np.ndarray  # bool; the window lies in a cluster that is significant


def separation_over_time(
    layers: tuple[LayerTime, ...], times_s: np.ndarray, ax: Axes, *, title: str, note: str, unit: str
) -> Axes:
    """Draw each layer's effect over time, darker the later the layer, clusters as bars below; return `ax`.

    The interval is drawn for the last layer only, where it would not hide the others.
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
    for number, (layer, shade) in enumerate(zip(layers, shades, strict=True)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], layer.found.astype(int), [0]])))
        for start, stop in edges.reshape(-1, 2):
            y = bottom - lane * (number + 2)
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
    """Draw each emotion's power spectrum and mark the tempo its clips were measured at; return `ax`.

    Args:
        frequencies_hz: of the spectra.
        power: emotion -> (frequency,) share of the power per Hz.
        tempo_hz: emotion -> median tempo of its clips, beats per second.
        ax: where to draw.
        title: what moves.
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
