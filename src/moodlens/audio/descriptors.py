"""A waveform in eleven numbers: rhythm, loudness, timbre, mode."""

from dataclasses import dataclass

import librosa
import numpy as np
from jaxtyping import Float

from moodlens.audio.mode import mode_margin, pitch_class_weights, without_partials
from moodlens.audio.rhythm import energy_rises, onset_times_s, tempo_and_clarity
from moodlens.audio.spectra import (
    ENVELOPE_HOP_S,
    ENVELOPE_WINDOW_S,
    PITCH_HOP_S,
    PITCH_WINDOW_S,
    bin_frequencies_hz,
    magnitudes,
)
from moodlens.base.errors import ContractError, must

SILENCE_DB = -100.0
FRAME_S = 0.05
ROLLOFF_SHARE = 0.85


@dataclass(frozen=True)
class Descriptors:
    """The acoustic descriptors of one clip; every field is finite, even on silence."""

    tempo_bpm: float  # [50, 200], beats per minute
    onset_rate_hz: float  # onsets per second
    pulse_clarity: float  # [0, 1], how regular the onsets are
    loudness_db: float  # rms level re full scale, >= -100
    dynamic_range_db: float  # 95th - 10th percentile of the 50 ms levels
    low_energy_fraction: float  # [0, 1], share of 50 ms frames below the mean rms
    centroid_hz: float  # centre of the mean magnitude spectrum: brightness
    rolloff_hz: float  # 85 % of the mean power lies below
    flatness: float  # [0, 1], geometric over arithmetic mean of power: near 0 a tone, .56 white noise
    zero_crossing_rate_hz: float  # sign changes per second
    mode_margin: float  # major - minor key correlation; > 0 is major


def describe(waveform: Float[np.ndarray, " sample"], sample_rate_hz: int) -> Descriptors:
    """Return the acoustic descriptors of a mono waveform of any sample rate and duration.

    Args:
        waveform: (sample,), full scale = 1.
        sample_rate_hz: samples per second.

    Raises:
        ContractError: the waveform is empty or not finite.

    Source: centroid, rolloff, flatness as in librosa.feature; low-energy fraction: Tzanetakis & Cook
    (2002), Musical genre classification of audio signals.
    """
    _check(waveform)
    sound = waveform.astype(np.float32)
    magnitude = magnitudes(sound, sample_rate_hz, ENVELOPE_WINDOW_S, ENVELOPE_HOP_S)
    rises = energy_rises(magnitude, sample_rate_hz)
    tempo_bpm, pulse_clarity = tempo_and_clarity(rises)
    duration_s = len(sound) / sample_rate_hz
    fine = magnitudes(sound, sample_rate_hz, PITCH_WINDOW_S, PITCH_HOP_S)
    levels_db, low_energy = _levels(sound, sample_rate_hz)
    high, low = np.percentile(levels_db, [95, 10])
    return Descriptors(
        tempo_bpm=tempo_bpm,
        onset_rate_hz=len(onset_times_s(rises)) / duration_s,
        pulse_clarity=pulse_clarity,
        loudness_db=_db(np.sqrt(np.mean(sound.astype(np.float64) ** 2))),
        dynamic_range_db=float(high - low),
        low_energy_fraction=low_energy,
        centroid_hz=_centroid_hz(magnitude, sample_rate_hz),
        rolloff_hz=_rolloff_hz(magnitude, sample_rate_hz),
        flatness=float(librosa.feature.spectral_flatness(S=magnitude).mean()),
        zero_crossing_rate_hz=float(np.count_nonzero(np.diff(np.signbit(sound))) / duration_s),
        mode_margin=mode_margin(without_partials(pitch_class_weights(fine, sample_rate_hz))),
    )


def _check(waveform: np.ndarray) -> None:
    if waveform.size == 0:
        raise ContractError(must("waveform", "hold samples", "none", next_step="Generate the clip again"))
    if not np.isfinite(waveform).all():
        bad = int(np.flatnonzero(~np.isfinite(waveform))[0])
        found = f"{waveform[bad]} at sample {bad}"
        raise ContractError(must("waveform", "be finite", found, next_step="Generate the clip again"))


def _db(rms: np.ndarray | float) -> float:
    return float(20 * np.log10(max(float(rms), 10 ** (SILENCE_DB / 20))))


def _levels(sound: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, float]:
    """Levels of 50 ms frames in dB, and the share of frames below the mean rms."""
    n = min(len(sound), round(FRAME_S * sample_rate_hz))
    frames = sound[: len(sound) // n * n].reshape(-1, n).astype(np.float64)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    levels_db = 20 * np.log10(np.maximum(rms, 10 ** (SILENCE_DB / 20)))
    return levels_db, float(np.mean(rms < rms.mean()))


def _centroid_hz(magnitude: np.ndarray, sample_rate_hz: int) -> float:
    mean = magnitude.mean(1).astype(np.float64)
    total = mean.sum()
    return float(mean @ bin_frequencies_hz(len(mean), sample_rate_hz) / total) if total > 0 else 0.0


def _rolloff_hz(magnitude: np.ndarray, sample_rate_hz: int) -> float:
    power = np.cumsum(np.mean(magnitude.astype(np.float64) ** 2, axis=1))
    index = int(np.searchsorted(power, ROLLOFF_SHARE * power[-1]))
    return float(bin_frequencies_hz(len(power), sample_rate_hz)[index])
