"""Eleven acoustic descriptors of a waveform: rhythm, loudness, timbre and mode.

Window lengths are in seconds, so that descriptors agree between sample rates. Onsets, tempo and pulse clarity
come from the rises of energy in mel bands; mode comes from key-profile correlations of the pitch classes of
spectral peaks.
"""

from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
from jaxtyping import Float
from scipy.ndimage import maximum_filter1d

from moodlens.base.errors import ContractError, must

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
    """Return the linear magnitudes of the short-time spectrum; windows are centred, zeros pad both ends."""
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


N_BANDS = 10
FLOOR_SHARE = 0.01
"""Share of the clip's mean energy below which a rise does not count, so that codec noise is no onset."""
FLOOR_POWER = 1e-6
RISE_WINDOWS = 4
"""A rise is measured over 40 ms, the attack of a bowed note."""

NEIGHBOUR_S, REFRACTORY_S = 0.03, 0.08
PEAK_SHARE, PEAK_FLOOR = 0.3, 2.0
"""An onset is the largest rise within NEIGHBOUR_S, at least PEAK_SHARE of the largest and PEAK_FLOOR nats
(summed over bands), and REFRACTORY_S after the one before."""

SLOWEST_BPM, FASTEST_BPM = 50.0, 200.0
"""Tempo has a uniform prior on this range: the usual log-normal prior at 120 pulls slow pieces up."""
LAG_STEP_S = 0.0025
NOT_MEASURED = float("nan")
"""One object, so that equal records compare equal."""
FEWEST_BEATS = 1.7
"""Beats of its own tempo that a clip must hold, about two: with fewer, nothing has come twice."""
LEAST_CLARITY = 0.01
"""Pulse clarity at or below which no lag repeats, so that tempo is not measured. Noise has more:
`workspace.tempo`."""
RELATIVE_SHARE = 0.75
"""Share of the best lag's height from which a relative of the tempo is a second reading of the rhythm."""
RELATIVES = (1 / 2, 2, 1 / 3, 3, 2 / 3, 3 / 2)


def energy_rises(
    magnitude: Float[np.ndarray, "bin window"], sample_rate_hz: int
) -> Float[np.ndarray, " window"]:
    """Return the summed rise of log energy over N_BANDS mel bands, nats per RISE_WINDOWS windows, >= 0.

    The minimum of each band is put before the clip, so that a note at its very start is an onset.
    """
    mel = mel_bands(len(magnitude), sample_rate_hz) @ magnitude**2
    bands = mel.reshape(N_BANDS, N_MELS // N_BANDS, -1).sum(1)
    log = np.log(bands + FLOOR_SHARE * bands.sum(0).mean() + FLOOR_POWER)
    silence = np.repeat(log.min(1, keepdims=True), RISE_WINDOWS, axis=1)
    log = np.concatenate([silence, log], axis=1)
    return np.maximum(0, log[:, RISE_WINDOWS:] - log[:, :-RISE_WINDOWS]).sum(0).astype(np.float64)


def onset_times_s(rises: Float[np.ndarray, " window"]) -> Float[np.ndarray, " onset"]:
    """Return the times of onsets, seconds from the start."""
    around = 2 * round(NEIGHBOUR_S / ENVELOPE_HOP_S) + 1
    least = max(PEAK_FLOOR, PEAK_SHARE * rises.max())
    peaks = np.flatnonzero((rises >= least) & (rises == maximum_filter1d(rises, around, mode="constant")))
    onsets: list[int] = []
    for peak in peaks:
        if not onsets or (peak - onsets[-1]) * ENVELOPE_HOP_S > REFRACTORY_S:
            onsets.append(int(peak))
    return np.array(onsets) * ENVELOPE_HOP_S


@dataclass(frozen=True)
class Pulse:
    """The tempo of a clip, its second reading, and how regular the onsets are."""

    bpm: float  # beats per minute; NaN where it was not measured
    other_bpm: float  # mostly half or twice `bpm`, where the rhythm fits it nearly as well; else NaN
    clarity: float  # [0, 1]


def pulse_of(rises: Float[np.ndarray, " window"]) -> Pulse:
    """Return the tempo in beats per minute, its second reading, and the pulse clarity.

    Tempo is the lag of the highest autocorrelation of the rises between FASTEST_BPM and SLOWEST_BPM.
    Clarity is that autocorrelation divided by the one at lag zero (Lartillot et al. 2008, Multi-feature
    modeling of pulse clarity). Tempo is not measured without any rise, at a clarity of LEAST_CLARITY or less,
    or where the clip holds fewer than FEWEST_BEATS beats of it.

    Beats with strong off-beats are a rhythm of two tempi, mostly an octave apart. Sound alone does not say
    which one is meant. The relative (RELATIVES) of highest autocorrelation is returned beside the tempo if it
    reaches RELATIVE_SHARE of the highest.
    """
    centred = rises - rises.mean()
    n = len(centred)
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    auto = np.fft.irfft(power)[:n]
    if auto[0] <= 1e-9:
        return Pulse(NOT_MEASURED, NOT_MEASURED, 0.0)
    lags_s = np.arange(60 / FASTEST_BPM, 60 / SLOWEST_BPM + LAG_STEP_S, LAG_STEP_S)
    height = np.interp(lags_s / ENVELOPE_HOP_S, np.arange(n), auto / auto[0])
    best = int(np.argmax(height))
    bpm, clarity = float(60 / lags_s[best]), float(np.clip(height[best], 0, 1))
    if clarity <= LEAST_CLARITY or (n - 1) * ENVELOPE_HOP_S < FEWEST_BEATS * lags_s[best]:
        return Pulse(NOT_MEASURED, NOT_MEASURED, clarity)
    others = np.array([bpm * ratio for ratio in RELATIVES])
    others = others[(others >= SLOWEST_BPM) & (others <= FASTEST_BPM + 1e-9)]
    heights = np.interp(60 / others / ENVELOPE_HOP_S, np.arange(n), auto / auto[0])
    fits = len(others) > 0 and heights.max() >= RELATIVE_SHARE * height[best]
    return Pulse(bpm, float(others[heights.argmax()]) if fits else NOT_MEASURED, clarity)


MAJOR_PROFILE = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR_PROFILE = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""Probe-tone ratings, tonic first: Krumhansl & Kessler (1982), Tracing the dynamic changes in perceived
tonal organization in a spatial representation of musical keys."""

LOWEST_HZ, HIGHEST_HZ = 60.0, 1000.0
CHROMA_PEAK_SHARE = 0.1
"""A peak counts if it reaches this share of the largest in its window; codec noise stays below it."""
COMPRESSION = 0.5
"""Exponent of a peak's magnitude; it raises quiet chord tones relative to a loud melody."""
FIFTH_LEAK, THIRD_LEAK = 0.2, 0.1
"""Share of a tone's weight that its partials 3 and 5 add a fifth and a major third above it. Measured on the
synthesiser through a codec: subtracting it raised the share of clips with the right mode by sign from .947 to
.973."""


def pitch_class_weights(
    magnitude: Float[np.ndarray, "bin window"], sample_rate_hz: int
) -> Float[np.ndarray, " pitch_class=12"]:
    """Return the compressed magnitude of spectral peaks per pitch class, c first, summed over the clip.

    The frequency of a peak is that of a parabola through the log magnitudes of its bin and both neighbours.
    Its weight is multiplied by cos^2(pi x) of its distance x from the nearest semitone, in semitones (Gómez
    2006, Tonal description of music audio signals).
    """
    frequencies = bin_frequencies_hz(len(magnitude), sample_rate_hz)
    rows = np.flatnonzero((frequencies > LOWEST_HZ) & (frequencies < HIGHEST_HZ))
    here, below, above = (magnitude[rows + shift] for shift in (0, -1, 1))
    least = np.maximum(CHROMA_PEAK_SHARE * here.max(axis=0), 1e-3 * here.max())
    row, window = np.nonzero((here > below) & (here >= above) & (here > least))
    peak, left, right = (np.log(part[row, window] + 1e-12) for part in (here, below, above))
    bend = np.minimum(left - 2 * peak + right, -1e-9)
    shift = np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    midi = 69 + 12 * np.log2((rows[row] + shift) * frequencies[1] / 440)
    semitone = np.round(midi).astype(int)
    weights = here[row, window] ** COMPRESSION * np.cos(np.pi * (midi - semitone)) ** 2
    # without a peak, bincount forgets that its weights are floats
    return np.bincount(semitone % 12, weights=weights, minlength=12).astype(np.float64)


def without_partials(weights: Float[np.ndarray, " pitch_class=12"]) -> Float[np.ndarray, " pitch_class=12"]:
    """Return the weights of the tones without what their partials 3 and 5 added, >= 0."""
    leak = np.eye(12)
    leak += FIFTH_LEAK * np.roll(np.eye(12), 7, axis=0) + THIRD_LEAK * np.roll(np.eye(12), 4, axis=0)
    return np.maximum(0, np.linalg.solve(leak, weights))


def mode_margin(weights: Float[np.ndarray, " pitch_class=12"]) -> float:
    """Return the best correlation with a major key profile minus the best with a minor one, over 12 tonics.

    A positive margin means major. Its range is [-2, 2]; it is 0 when all weights are equal (silence).
    """
    if np.ptp(weights) <= 1e-12:
        return 0.0
    best = []
    for profile in (MAJOR_PROFILE, MINOR_PROFILE):
        turned = np.stack([np.roll(profile, tonic) for tonic in range(12)])
        best.append(max(float(np.corrcoef(row, weights)[0, 1]) for row in turned))
    return best[0] - best[1]


SILENCE_DB = -100.0
FRAME_S = 0.05
ROLLOFF_SHARE = 0.85


@dataclass(frozen=True)
class Descriptors:
    """The acoustic descriptors of one clip. Every field but a tempo is finite, even on silence."""

    tempo_bpm: float  # [50, 200], beats per minute; NaN where it was not measured (`pulse_of`)
    onset_rate_hz: float  # onsets per second
    pulse_clarity: float  # [0, 1], regularity of the onsets
    loudness_db: float  # rms level re full scale, >= -100
    dynamic_range_db: float  # 95th - 10th percentile of the 50 ms levels
    low_energy_fraction: float  # [0, 1], share of 50 ms frames below the mean rms
    centroid_hz: float  # centre of the mean magnitude spectrum: brightness
    rolloff_hz: float  # frequency below which 85 % of the mean power lies
    flatness: float  # [0, 1], geometric over arithmetic mean of power: near 0 a tone, .56 white noise
    zero_crossing_rate_hz: float  # sign changes per second
    mode_margin: float  # major - minor key correlation; > 0 is major
    tempo_other_bpm: float = NOT_MEASURED  # its second reading where the rhythm fits both, else NaN


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
    pulse = pulse_of(rises)
    duration_s = len(sound) / sample_rate_hz
    fine = magnitudes(sound, sample_rate_hz, PITCH_WINDOW_S, PITCH_HOP_S)
    levels_db, low_energy = _levels(sound, sample_rate_hz)
    high, low = np.percentile(levels_db, [95, 10])
    return Descriptors(
        tempo_bpm=pulse.bpm,
        onset_rate_hz=len(onset_times_s(rises)) / duration_s,
        pulse_clarity=pulse.clarity,
        loudness_db=_db(np.sqrt(np.mean(sound.astype(np.float64) ** 2))),
        dynamic_range_db=float(high - low),
        low_energy_fraction=low_energy,
        centroid_hz=_centroid_hz(magnitude, sample_rate_hz),
        rolloff_hz=_rolloff_hz(magnitude, sample_rate_hz),
        flatness=float(librosa.feature.spectral_flatness(S=magnitude).mean()),
        zero_crossing_rate_hz=float(np.count_nonzero(np.diff(np.signbit(sound))) / duration_s),
        mode_margin=mode_margin(without_partials(pitch_class_weights(fine, sample_rate_hz))),
        tempo_other_bpm=pulse.other_bpm,
    )


def _check(waveform: np.ndarray) -> None:
    if waveform.size == 0:
        raise ContractError(must("waveform", "hold samples", "none", next_step="Generate the clip again"))
    if not np.isfinite(waveform).all():
        bad = int(np.flatnonzero(~np.isfinite(waveform))[0])
        got = f"{waveform[bad]} at sample {bad}"
        raise ContractError(must("waveform", "be finite", got, next_step="Generate the clip again"))


def _db(rms: np.ndarray | float) -> float:
    return float(20 * np.log10(max(float(rms), 10 ** (SILENCE_DB / 20))))


def _levels(sound: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, float]:
    """Return the levels of 50 ms frames in dB, and the share of frames below the mean rms."""
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
