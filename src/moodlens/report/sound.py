"""What was measured in the audio, by emotion: the picture and the table behind it."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from moodlens.plots.acoustics import descriptor_by_emotion
from moodlens.plots.style import draw, in_order
from moodlens.plots.svg import figure_svg
from moodlens.report.numbers import count, number
from moodlens.report.records import Cell, Figure, Finding, Grid

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
