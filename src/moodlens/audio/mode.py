"""Major or minor: key-profile correlations of the pitch classes of spectral peaks."""

import numpy as np
from jaxtyping import Float

from moodlens.audio.spectra import bin_frequencies_hz

MAJOR_PROFILE = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR_PROFILE = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""Probe-tone ratings, tonic first: Krumhansl & Kessler (1982), Tracing the dynamic changes in perceived
tonal organization in a spatial representation of musical keys."""

LOWEST_HZ, HIGHEST_HZ = 60.0, 1500.0
COMPRESSION = 0.7
"""Exponent of a peak's magnitude: quiet chord tones count beside a loud melody."""


def pitch_class_weights(
    magnitude: Float[np.ndarray, "bin window"], sample_rate_hz: int
) -> Float[np.ndarray, " pitch_class=12"]:
    """Return the compressed magnitude of spectral peaks per pitch class, c first, summed over the clip.

    Peaks (larger than both neighbouring bins) are placed by a parabola through their log magnitudes.
    """
    frequencies = bin_frequencies_hz(len(magnitude), sample_rate_hz)
    rows = np.flatnonzero((frequencies > LOWEST_HZ) & (frequencies < HIGHEST_HZ))
    here, below, above = (magnitude[rows + shift] for shift in (0, -1, 1))
    row, window = np.nonzero((here > below) & (here >= above) & (here > 1e-6 * magnitude.max()))
    peak, left, right = (np.log(part[row, window] + 1e-12) for part in (here, below, above))
    bend = left - 2 * peak + right
    shift = np.where(bend < -1e-9, 0.5 * (left - right) / np.minimum(bend, -1e-9), 0.0)
    pitch_hz = (rows[row] + np.clip(shift, -0.5, 0.5)) * frequencies[1]
    midi = np.round(69 + 12 * np.log2(pitch_hz / 440)).astype(int)
    return np.bincount(midi % 12, weights=here[row, window] ** COMPRESSION, minlength=12)


def mode_margin(weights: Float[np.ndarray, " pitch_class=12"]) -> float:
    """Return the best correlation with a major key profile minus the best with a minor one, over 12 tonics.

    Positive: major. Range [-2, 2]; 0 when all weights are equal (silence).
    """
    if np.ptp(weights) <= 1e-12:
        return 0.0
    best = []
    for profile in (MAJOR_PROFILE, MINOR_PROFILE):
        turned = np.stack([np.roll(profile, tonic) for tonic in range(12)])
        best.append(max(float(np.corrcoef(row, weights)[0, 1]) for row in turned))
    return best[0] - best[1]
