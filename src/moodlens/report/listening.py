"""The players: which clips, their audio as data, and their descriptors beside what the prompt intends."""

from base64 import b64encode
from collections.abc import Mapping

import numpy as np
import pandas as pd

from moodlens.contracts.tables import PROMPT_SETS
from moodlens.plots.style import in_order
from moodlens.report.formatting import number
from moodlens.report.records import Descriptor, Group, Listening, Player

AUDIO_BUDGET_BYTES = 9_000_000
"""Limit on all audio on the page, before base64 adds a third; clips beyond it are named, not embedded."""

N_SLICES = 120
"""Bars of a waveform."""

CLEAR = 0.15
"""Distance from 0 of valence or arousal below which a prompt implies nothing about the descriptors."""

MEDIA_TYPES = {".flac": "audio/flac", ".wav": "audio/wav", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}
"""FLAC plays in Chromium since 56, Firefox since 51, Safari since 11."""

CHOICE = (
    "Chosen by rule, not by listening: for each emotion, the first prompts of each prompt set in the order "
    "of their ids, with the first seed. What a prompt intends is derived from its valence and arousal; fast, "
    "bright and loud mean above the median clip of this run."
)

AROUSED = (
    ("tempo_bpm", "tempo", "BPM", "fast", "slow"),
    ("centroid_hz", "brightness", "Hz", "bright", "dark"),
    ("loudness_db", "loudness", "dB", "loud", "quiet"),
)
"""Column, name, unit, and the words for high and low arousal."""


def choose(clips: pd.DataFrame, prompts: pd.DataFrame, per_emotion: int) -> pd.DataFrame:
    """Return the clips of the players: first seed, prompt sets in turn, ids and emotions in order.

    Args:
        clips: rows of `contracts.tables.CLIPS`.
        prompts: rows of `contracts.tables.PROMPTS`; its text, set, valence and arousal are joined on.
        per_emotion: how many of each emotion.
    """
    intended = prompts[["prompt_id", "text", "set", "valence", "arousal"]]
    table = clips.sort_values(["seed", "prompt_id"]).merge(intended, on="prompt_id", validate="many_to_one")
    turn = table.groupby(["emotion", "seed", "set"]).cumcount()
    rank = table["set"].map(PROMPT_SETS.index)
    table = table.assign(turn=turn, rank=rank).sort_values(["seed", "turn", "rank", "prompt_id"])
    picked = table.groupby("emotion", sort=False).head(per_emotion)
    order = {emotion: rank for rank, emotion in enumerate(in_order(list(picked["emotion"].unique())))}
    return picked.sort_values("emotion", key=lambda column: column.map(order), kind="stable")


def listening(
    chosen: pd.DataFrame,
    acoustics: pd.DataFrame | None,
    audio: Mapping[str, bytes],
    waveforms: Mapping[str, np.ndarray],
) -> Listening:
    """Return the players of the chosen clips.

    Args:
        chosen: from `choose`.
        acoustics: descriptors of every clip, or None where they were not measured.
        audio: clip_id -> bytes of its audio file.
        waveforms: clip_id -> (sample,), full scale = 1.
    """
    measured = None if acoustics is None else acoustics.set_index("clip_id")
    groups: dict[str, list[Player]] = {}
    spent = 0
    for row in chosen.to_dict("records"):
        clip_id, sound = row["clip_id"], audio[row["clip_id"]]
        spent += len(sound)
        player = Player(
            clip_id=clip_id,
            prompt=row["text"],
            set_name=row["set"],
            seed=row["seed"],
            duration_s=row["duration_s"],
            source=data_uri(sound, row["audio_path"]) if spent <= AUDIO_BUDGET_BYTES else "",
            envelope=envelope(waveforms[clip_id]),
            descriptors=()
            if measured is None
            else descriptors(measured, clip_id, row["valence"], row["arousal"]),
        )
        groups.setdefault(row["emotion"], []).append(player)
    return Listening(CHOICE, tuple(Group(emotion, tuple(players)) for emotion, players in groups.items()))


def data_uri(sound: bytes, path: str) -> str:
    """Return audio as a data URI, its type from the file's suffix.

    >>> data_uri(b"fLaC", "audio/happy-000-s0.flac")
    'data:audio/flac;base64,ZkxhQw=='
    """
    kind = MEDIA_TYPES[path[path.rindex(".") :]]
    return f"data:{kind};base64,{b64encode(sound).decode('ascii')}"


def envelope(waveform: np.ndarray) -> tuple[float, ...]:
    """Return the loudest sample of each of N_SLICES slices, the loudest of the clip = 1, two decimals."""
    slices = np.array_split(np.abs(waveform), min(N_SLICES, len(waveform)))
    peaks = np.array([piece.max() for piece in slices])
    return tuple(float(level) for level in np.round(peaks / max(peaks.max(), 1e-9), 2))


def descriptors(
    measured: pd.DataFrame, clip_id: str, valence: float, arousal: float
) -> tuple[Descriptor, ...]:
    """Return tempo, brightness, loudness and mode of a clip beside what valence and arousal imply.

    Args:
        measured: descriptors, one row per clip, indexed by clip_id; their medians separate high from low.
        clip_id: the row.
        valence: -1..1, NaN where the prompt states none.
        arousal: likewise.
    """
    shown = []
    for column, name, unit, high, low in AROUSED:
        value, middle = float(measured.at[clip_id, column]), float(np.median(measured[column]))
        expected, agrees = "", None
        if abs(arousal) >= CLEAR:
            expected = high if arousal > 0 else low
            agrees = value > middle if arousal > 0 else value < middle
        shown.append(Descriptor(name, number(value, unit=unit), expected, agrees))
    margin = float(measured.at[clip_id, "mode_margin"])
    expected, agrees = "", None
    if abs(valence) >= CLEAR:
        expected, agrees = ("major", margin > 0) if valence > 0 else ("minor", margin < 0)
    word = "major" if margin > 0 else "minor"
    return (*shown, Descriptor("mode", f"{word} ({number(margin, 2)})", expected, agrees))
