"""Onsets, tempo and pulse from the rises of energy in a few bands."""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import maximum_filter1d

from moodlens.audio.spectra import ENVELOPE_HOP_S, N_MELS, mel_bands

N_BANDS = 10
FLOOR_SHARE = 0.01
"""Share of the clip's mean energy below which a rise does not count: a codec's hiss is no onset."""
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


def energy_rises(
    magnitude: Float[np.ndarray, "bin window"], sample_rate_hz: int
) -> Float[np.ndarray, " window"]:
    """Return the summed rise of log energy over N_BANDS mel bands, nats per RISE_WINDOWS windows, >= 0.

    The clip is taken to follow its own quietest moment, so that a note at its very start is an onset.
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
    kept: list[int] = []
    for peak in peaks:
        if not kept or (peak - kept[-1]) * ENVELOPE_HOP_S > REFRACTORY_S:
            kept.append(int(peak))
    return np.array(kept) * ENVELOPE_HOP_S


def tempo_and_clarity(rises: Float[np.ndarray, " window"]) -> tuple[float, float]:
    """Return the tempo in beats per minute and the pulse clarity in [0, 1].

    Tempo is the lag of the highest autocorrelation of the rises between FASTEST_BPM and SLOWEST_BPM;
    clarity is that autocorrelation over the one at lag zero (Lartillot et al. 2008, Multi-feature
    modeling of pulse clarity). Without any rise: (SLOWEST_BPM, 0).
    """
    centred = rises - rises.mean()
    n = len(centred)
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    auto = np.fft.irfft(power)[:n]
    if auto[0] <= 1e-9:
        return SLOWEST_BPM, 0.0
    lags_s = np.arange(60 / FASTEST_BPM, 60 / SLOWEST_BPM + LAG_STEP_S, LAG_STEP_S)
    height = np.interp(lags_s / ENVELOPE_HOP_S, np.arange(n), auto / auto[0])
    best = int(np.argmax(height))
    return float(60 / lags_s[best]), float(np.clip(height[best], 0, 1))
