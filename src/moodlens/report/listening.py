"""The players: which clips, their sound as data, what was measured beside what the prompt intends."""

from base64 import b64encode
from collections.abc import Mapping

import numpy as np
import pandas as pd

from moodlens.contracts.tables import PROMPT_SETS
from moodlens.plots.style import in_order
from moodlens.report.records import Group, Listening, Player, Reading
from moodlens.report.wording import number

AUDIO_BUDGET_BYTES = 9_000_000
"""Of all audio on the page before base64 adds a third; later clips are named, not embedded."""

N_SLICES = 120
"""Bars of a waveform picture."""

CLEAR = 0.15
"""A prompt closer than this to the middle of valence or arousal intends nothing of the descriptor."""

MEDIA_TYPES = {".flac": "audio/flac", ".wav": "audio/wav", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}
"""FLAC plays in Chromium since 56, Firefox since 51, Safari since 11."""

CHOICE = (
    "Chosen by rule, not by ear: for each emotion the first prompts of each prompt set in order of their id, "
    "first seed. What the prompt intends follows from its valence and arousal; fast, bright and loud mean "
    "above the median clip of this run."
)

AROUSED = (
    ("tempo_bpm", "tempo", "BPM", "fast", "slow"),
    ("centroid_hz", "brightness", "Hz", "bright", "dark"),
    ("loudness_db", "loudness", "dB", "loud", "quiet"),
)
"""Column, name, unit, and what high and low arousal ask of it."""


def choose(clips: pd.DataFrame, prompts: pd.DataFrame, per_emotion: int) -> pd.DataFrame:
    """Return the clips to hear: first seed, prompt sets in turn, ids in order; emotions in their fixed order.

    Args:
        clips: rows of `contracts.tables.CLIPS`.
        prompts: rows of `contracts.tables.PROMPTS`; its text, set, valence and arousal are joined on.
        per_emotion: how many of each emotion.
    """
    told = prompts[["prompt_id", "text", "set", "valence", "arousal"]]
    table = clips.sort_values(["seed", "prompt_id"]).merge(told, on="prompt_id", validate="many_to_one")
    turn = table.groupby(["emotion", "seed", "set"]).cumcount()
    place = table["set"].map(PROMPT_SETS.index)
    table = table.assign(turn=turn, place=place).sort_values(["seed", "turn", "place", "prompt_id"])
    picked = table.groupby("emotion", sort=False).head(per_emotion)
    order = {emotion: place for place, emotion in enumerate(in_order(list(picked["emotion"].unique())))}
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
        acoustics: descriptors of every clip, or None while they are not measured.
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
            readings=() if measured is None else readings(measured, clip_id, row["valence"], row["arousal"]),
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


def readings(measured: pd.DataFrame, clip_id: str, valence: float, arousal: float) -> tuple[Reading, ...]:
    """Return tempo, brightness, loudness and mode of a clip beside what valence and arousal ask.

    Args:
        measured: descriptors, one row per clip, indexed by clip_id; their medians divide high from low.
        clip_id: the row.
        valence: -1..1, NaN where the prompt states none.
        arousal: likewise.
    """
    found = []
    for column, name, unit, high, low in AROUSED:
        value, middle = float(measured.at[clip_id, column]), float(np.median(measured[column]))
        expected, agrees = "", None
        if abs(arousal) >= CLEAR:
            expected = high if arousal > 0 else low
            agrees = value > middle if arousal > 0 else value < middle
        found.append(Reading(name, number(value, unit=unit), expected, agrees))
    margin = float(measured.at[clip_id, "mode_margin"])
    expected, agrees = "", None
    if abs(valence) >= CLEAR:
        expected, agrees = ("major", margin > 0) if valence > 0 else ("minor", margin < 0)
    word = "major" if margin > 0 else "minor"
    return (*found, Reading("mode", f"{word} ({number(margin, 2)})", expected, agrees))
