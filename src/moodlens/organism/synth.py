"""Score -> waveform. The codec is trained on this timbre: a change here requires a new codec.

Every note has a short attack and decays, and onsets lie on codec frames, so that they survive the codec.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32

from moodlens.organism.composer import DURATION_S, FRAME_RATE_HZ, N_FRAMES, Note, Score

SAMPLE_RATE_HZ = 16_000
N_SAMPLES = int(SAMPLE_RATE_HZ * DURATION_S)
HOP_SAMPLES = SAMPLE_RATE_HZ // FRAME_RATE_HZ

TABLE_SIZE = 2048
MAX_PARTIALS = 12
TOP_PARTIAL_HZ = 7200.0
BRIGHTNESS_STEPS = 8
RELEASE_S = 0.08

ATTACK_DECAY = {"piano": (0.004, 2.6), "flute": (0.03, 1.2), "organ": (0.008, 0.8), "strings": (0.05, 1.0)}
"""Instrument -> (attack in s, decay rate in 1/s)."""


def render(score: Score, n_frames: int = N_FRAMES) -> Float32[np.ndarray, " sample"]:
    """Return the first `n_frames` of a score, float32 (sample,) at 16 kHz, |x| < 1, rms near `rms`.

    The sum of notes and drums is scaled to the score's rms and passed through tanh, which bounds peaks and
    lowers the rms of the loudest pieces by a few per cent.
    """
    out = np.zeros(n_frames * HOP_SAMPLES, dtype=np.float32)
    brightness = score.factors.brightness
    for note in score.notes:
        _add(out, note.frame, _note_wave(note, score.factors.instrument, brightness))
    for hit in score.hits:
        _add(out, hit.frame, hit.gain * _drum(hit.drum))
    rms = np.sqrt(np.mean(out.astype(np.float64) ** 2))
    return np.tanh(out * (score.factors.rms / max(rms, 1e-9))).astype(np.float32)


def _add(out: np.ndarray, frame: int, wave: np.ndarray) -> None:
    start = frame * HOP_SAMPLES
    stop = min(start + len(wave), len(out))
    if start < stop:
        out[start:stop] += wave[: stop - start]


def _note_wave(note: Note, instrument: str, brightness: float) -> np.ndarray:
    pitch_hz = 440.0 * 2.0 ** ((note.midi - 69) / 12)
    n_partials = int(np.clip(TOP_PARTIAL_HZ / pitch_hz, 1, MAX_PARTIALS))
    step = round(min(1.0, brightness + note.brighter) * BRIGHTNESS_STEPS)
    table = _table(instrument, step, n_partials)
    n_release = int(RELEASE_S * SAMPLE_RATE_HZ)
    n = note.n_frames * HOP_SAMPLES + n_release
    t = np.arange(n, dtype=np.float32)
    phase = (t * np.float32(pitch_hz * TABLE_SIZE / SAMPLE_RATE_HZ)).astype(np.int32) & (TABLE_SIZE - 1)
    attack_s, decay_hz = ATTACK_DECAY[instrument]
    t /= SAMPLE_RATE_HZ
    envelope = np.minimum(1.0, t / attack_s) * np.exp(-decay_hz * t)
    envelope[-n_release:] *= np.linspace(1, 0, n_release, dtype=np.float32)
    return (note.gain * table[phase] * envelope).astype(np.float32)


@lru_cache(maxsize=512)
def _table(instrument: str, step: int, n_partials: int) -> np.ndarray:
    """Return one period of an instrument's wave, rms 0.7; brightness sets how fast the partials fall off."""
    brightness = step / BRIGHTNESS_STEPS
    angle = np.arange(TABLE_SIZE) / TABLE_SIZE * 2 * np.pi
    wave = np.zeros(TABLE_SIZE)
    for partial in range(1, n_partials + 1):
        fall = (0.25 + 0.75 * brightness) ** (partial - 1)
        wave += fall * _colour(instrument, partial) * np.sin(partial * angle)
    return (0.7 * wave / np.sqrt(np.mean(wave**2))).astype(np.float32)


def _colour(instrument: str, partial: int) -> float:
    if instrument == "flute":
        return 1.0 if partial == 1 else 0.45
    if instrument == "organ":
        return 1.0 if partial in (1, 2, 4, 8) else 0.12
    if instrument == "strings":
        return partial**-0.15
    return partial**-0.5 * (1.2 if partial % 2 else 0.8)


@lru_cache(maxsize=8)
def _drum(drum: str) -> np.ndarray:
    """Return the waveform of a drum; its noise is one fixed draw."""
    noise = np.random.Generator(np.random.Philox(key=0)).standard_normal(SAMPLE_RATE_HZ // 4)
    if drum == "kick":
        t = np.arange(int(0.16 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        wave = np.sin(2 * np.pi * (50 * t + 3 * (1 - np.exp(-30 * t)))) * np.exp(-22 * t)
    elif drum == "snare":
        t = np.arange(int(0.14 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * 185 * t) * np.exp(-30 * t)
        wave = 0.5 * noise[: len(t)] * np.exp(-32 * t) + 0.5 * tone
    else:
        t = np.arange(int(0.05 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        wave = 0.35 * np.diff(noise[: len(t) + 1]) * np.exp(-90 * t)
    return wave.astype(np.float32)
