"""Spectra shared by the descriptors: window lengths are seconds, so that any sample rate reads alike."""

from functools import lru_cache

import librosa
import numpy as np
from jaxtyping import Float

ENVELOPE_WINDOW_S, ENVELOPE_HOP_S = 0.064, 0.010
PITCH_WINDOW_S, PITCH_HOP_S = 0.256, 0.064
N_MELS = 40
TOP_MEL_HZ = 8000.0


def window_samples(window_s: float, sample_rate_hz: int) -> int:
    """Return the power of two nearest to a window's length in samples.

    >>> window_samples(0.064, 16000)
    1024
    """
    return 2 ** round(np.log2(window_s * sample_rate_hz))


def magnitudes(
    waveform: Float[np.ndarray, " sample"], sample_rate_hz: int, window_s: float, hop_s: float
) -> Float[np.ndarray, "bin window"]:
    """Return the magnitudes of the short-time spectrum, linear, centred windows, zeros beyond the ends."""
    n_fft = window_samples(window_s, sample_rate_hz)
    hop = max(1, round(hop_s * sample_rate_hz))
    padded = np.pad(waveform, (0, max(0, n_fft - len(waveform))))
    return np.abs(librosa.stft(padded, n_fft=n_fft, hop_length=hop, pad_mode="constant"))


def bin_frequencies_hz(n_bins: int, sample_rate_hz: int) -> Float[np.ndarray, " bin"]:
    """Return the centre frequency of every bin of a real spectrum."""
    return np.linspace(0, sample_rate_hz / 2, n_bins)


@lru_cache(maxsize=8)
def mel_bands(n_bins: int, sample_rate_hz: int) -> Float[np.ndarray, "mel bin"]:
    """Return the mel filter bank up to TOP_MEL_HZ (or half the sample rate)."""
    top_hz = min(TOP_MEL_HZ, sample_rate_hz / 2)
    return librosa.filters.mel(sr=sample_rate_hz, n_fft=2 * (n_bins - 1), n_mels=N_MELS, fmax=top_hz)
