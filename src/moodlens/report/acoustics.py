"""What the audio holds: one descriptor by emotion, a point per prompt.

What was measured in the audio, by emotion: the picture and the table behind it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from moodlens.plots.style import INK, colour_of, draw, figure_svg, headline, in_order, null_line
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.wording import count, number

SPREAD = 0.28
"""Half the width of a cloud of points, in places of the x axis."""


def descriptor_by_emotion(
    prompts: Mapping[str, np.ndarray], ax: Axes, *, title: str, unit: str, null: float | None = None
) -> Axes:
    """Draw each emotion's prompts as points and their mean as a bar; return `ax`.

    Args:
        prompts: emotion -> (prompt,), each the mean over the clips of one prompt, in `unit`.
        ax: where to draw.
        title: the descriptor, e.g. "Tempo".
        unit: of the values, for the y axis.
        null: a value with a meaning of its own (mode margin 0: neither major nor minor).
    """
    emotions = in_order(list(prompts))
    for place, emotion in enumerate(emotions):
        values = np.sort(prompts[emotion])
        colour = colour_of(emotion)
        ax.scatter(place + spread(len(values)), values, s=17, color=colour, alpha=0.8, linewidths=0, zorder=3)
        ax.hlines(values.mean(), place - 0.38, place + 0.38, color=INK, linewidth=2, zorder=4)
    if null is not None:
        null_line(ax, null)
    ax.set_xticks(range(len(emotions)), emotions, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(emotions) - 0.4)
    headline(ax, title, unit)
    return ax


def spread(n: int) -> np.ndarray:
    """Return n offsets within +-SPREAD that put neighbours of a sorted list far apart, without chance.

    The golden ratio's multiples modulo 1 (Weyl sequence).
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
"""Column, name, unit, and the value with a meaning of its own."""

COLUMNS = [column for column, *_ in SHOWN]


def acoustics_finding(acoustics: pd.DataFrame, clips: pd.DataFrame) -> Finding:
    """Return tempo, onset rate, brightness, loudness and mode by emotion, a point per prompt.

    Args:
        acoustics: descriptors, one row per clip.
        clips: rows of `contracts.tables.CLIPS`, which say the prompt and the emotion of a clip.
    """
    told = clips[["clip_id", "prompt_id", "emotion"]]
    table: Any = told.merge(acoustics[["clip_id", *COLUMNS]], on="clip_id", validate="one_to_one")
    means = table.groupby(["emotion", "prompt_id"])[COLUMNS].mean()
    by_emotion = {
        emotion: {column: means.loc[emotion][column].to_numpy(np.float64) for column in COLUMNS}
        for emotion in in_order(table["emotion"].unique().tolist())
    }
    tempo = {emotion: float(values["tempo_bpm"].mean()) for emotion, values in by_emotion.items()}
    fastest, slowest = max(tempo, key=tempo.__getitem__), min(tempo, key=tempo.__getitem__)
    most, least = tempo[fastest], tempo[slowest]
    summary = (
        f"{fastest.capitalize()} is fastest at {number(most, unit='BPM')} on average, {slowest} slowest at "
        f"{number(least, unit='BPM')}: {number(most - least, unit='BPM')} apart, over "
        f"{count(len(means), 'prompt')}."
    )
    return Finding(summary, (_figure(by_emotion, len(means), len(table)),), (_grid(by_emotion),))


Descriptors = dict[str, dict[str, np.ndarray]]
"""emotion -> column -> (prompt,)"""


def _figure(by_emotion: Descriptors, n_prompts: int, n_clips: int) -> Figure:
    def fill(*axes: Axes) -> None:
        for ax, (column, name, unit, null) in zip(axes, SHOWN, strict=True):
            values = {emotion: found[column] for emotion, found in by_emotion.items()}
            descriptor_by_emotion(values, ax, title=name, unit=unit, null=null)

    said = []
    for column, name, _, _ in SHOWN:
        means = [f"{emotion} {number(found[column].mean())}" for emotion, found in by_emotion.items()]
        said.append(f"{name} {', '.join(means)}")
    alt = f"Five descriptors by emotion, a point per prompt. Means: {'; '.join(said)}."
    caption = (
        f"A point is one prompt, the mean of its clips ({count(n_prompts, 'prompt')}, "
        f"{count(n_clips, 'clip')}); the bar is the mean over prompts. Dotted: neither major nor minor."
    )
    return Figure(figure_svg(draw(fill, n_axes=len(SHOWN), height_in=3.7), "acoustics", alt), caption)


def _grid(by_emotion: Descriptors) -> Grid:
    rows = []
    for emotion, found in by_emotion.items():
        n = len(found["tempo_bpm"])
        cells = [
            f"{number(found[column].mean())} ± {number(_deviation(found[column]), 2)}" for column in COLUMNS
        ]
        rows.append((Cell(emotion), Cell(str(n)), *(Cell(text) for text in cells)))
    columns = ("emotion", "n prompts", *(f"{name}, {unit}" for _, name, unit, _ in SHOWN))
    note = "± is the standard deviation over prompts, not an error of the mean."
    return Grid("Mean over prompts", columns, tuple(rows), (note,))


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
