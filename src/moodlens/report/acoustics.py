"""The chapter on `acoustics`: the descriptors of the audio by emotion, a point per prompt."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from moodlens.plots.style import INK, colour_of, draw, figure_svg, headline, in_order, null_line
from moodlens.report.formatting import count, number
from moodlens.report.records import Figure, Finding, Grid, cells

SPREAD = 0.28
"""Half the width of an emotion's points; emotions lie 1 apart on the x axis."""


def descriptor_by_emotion(
    prompts: Mapping[str, np.ndarray], ax: Axes, *, title: str, unit: str, null: float | None = None
) -> Axes:
    """Draw each emotion's prompts as points and their mean as a bar; return `ax`.

    Args:
        prompts: emotion -> (prompt,), each the mean over the clips of one prompt, in `unit`.
        ax: where to draw.
        title: the descriptor, e.g. "Tempo".
        unit: of the values, for the y axis.
        null: a reference value (mode margin 0: neither major nor minor).
    """
    emotions = in_order(list(prompts))
    for x, emotion in enumerate(emotions):
        values = np.sort(prompts[emotion])
        colour = colour_of(emotion)
        ax.scatter(x + spread(len(values)), values, s=17, color=colour, alpha=0.8, linewidths=0, zorder=3)
        ax.hlines(values.mean(), x - 0.38, x + 0.38, color=INK, linewidth=2, zorder=4)
    if null is not None:
        null_line(ax, null)
    ax.set_xticks(range(len(emotions)), emotions, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(emotions) - 0.4)
    headline(ax, title, unit)
    return ax


def spread(n: int) -> np.ndarray:
    """Return n fixed offsets within +-SPREAD that separate neighbours of a sorted list, (n,).

    Source: multiples of the golden ratio modulo 1 (Weyl sequence).
    """
    golden = (np.sqrt(5) - 1) / 2
    return (np.arange(1, n + 1) * golden % 1 - 0.5) * 2 * SPREAD


SHOWN = (
    ("tempo_bpm", "Tempo", "BPM", None),
    ("onset_rate_hz", "Onset rate", "onsets per second", None),
    ("centroid_hz", "Brightness", "spectral centroid, Hz", None),
    ("loudness_db", "Loudness", "dB re full scale", None),
    ("mode_margin", "Mode", "major − minor margin", 0.0),
)
"""Column, name, unit and reference value."""

COLUMNS = [column for column, *_ in SHOWN]


def acoustics_finding(acoustics: pd.DataFrame, clips: pd.DataFrame) -> Finding:
    """Return tempo, onset rate, brightness, loudness and mode by emotion, a point per prompt.

    Args:
        acoustics: descriptors, one row per clip.
        clips: rows of `contracts.tables.CLIPS`, with the prompt and the emotion of each clip.
    """
    origin = clips[["clip_id", "prompt_id", "emotion"]]
    table: Any = origin.merge(acoustics[["clip_id", *COLUMNS]], on="clip_id", validate="one_to_one")
    means = table.groupby(["emotion", "prompt_id"])[COLUMNS].mean()
    by_emotion = {
        emotion: {column: means.loc[emotion][column].to_numpy(np.float64) for column in COLUMNS}
        for emotion in in_order(table["emotion"].unique().tolist())
    }
    tempo = {emotion: float(values["tempo_bpm"].mean()) for emotion, values in by_emotion.items()}
    fastest, slowest = max(tempo, key=tempo.__getitem__), min(tempo, key=tempo.__getitem__)
    most, least = tempo[fastest], tempo[slowest]
    summary = (
        f"The mean tempo is highest for {fastest}, {number(most, unit='BPM')}, and lowest for {slowest}, "
        f"{number(least, unit='BPM')}; the difference is {number(most - least, unit='BPM')}, over "
        f"{count(len(means), 'prompt')}."
    )
    return Finding(summary, (_figure(by_emotion, len(means), len(table)),), (_grid(by_emotion),))


ByEmotion = dict[str, dict[str, np.ndarray]]
"""emotion -> column -> (prompt,)"""


def _figure(by_emotion: ByEmotion, n_prompts: int, n_clips: int) -> Figure:
    def fill(*axes: Axes) -> None:
        for ax, (column, name, unit, null) in zip(axes, SHOWN, strict=True):
            values = {emotion: measured[column] for emotion, measured in by_emotion.items()}
            descriptor_by_emotion(values, ax, title=name, unit=unit, null=null)

    means = []
    for column, name, _, _ in SHOWN:
        of_emotion = [f"{emotion} {number(values[column].mean())}" for emotion, values in by_emotion.items()]
        means.append(f"{name} {', '.join(of_emotion)}")
    alt = f"Five descriptors by emotion, a point per prompt. Means: {'; '.join(means)}."
    caption = (
        f"Each point is one prompt, the mean of its clips ({count(n_prompts, 'prompt')}, "
        f"{count(n_clips, 'clip')}); the bar is the mean over prompts. Dotted: neither major nor minor."
    )
    return Figure(figure_svg(draw(fill, n_axes=len(SHOWN), height_in=3.7), "acoustics", alt), caption)


def _grid(by_emotion: ByEmotion) -> Grid:
    rows = []
    for emotion, values in by_emotion.items():
        texts = [
            f"{number(values[column].mean())} ± {number(_deviation(values[column]), 2)}" for column in COLUMNS
        ]
        rows.append(cells(emotion, str(len(values["tempo_bpm"])), *texts))
    columns = ("emotion", "n prompts", *(f"{name}, {unit}" for _, name, unit, _ in SHOWN))
    note = "± is the standard deviation over prompts, not the standard error of the mean."
    return Grid("Mean over prompts", columns, tuple(rows), (note,))


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
