"""Major or minor: key-profile correlations of the pitch classes of spectral peaks."""

import numpy as np
from jaxtyping import Float

from moodlens.audio.spectra import bin_frequencies_hz

MAJOR_PROFILE = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR_PROFILE = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""Probe-tone ratings, tonic first: Krumhansl & Kessler (1982), Tracing the dynamic changes in perceived
tonal organization in a spatial representation of musical keys."""

LOWEST_HZ, HIGHEST_HZ = 60.0, 1000.0
PEAK_SHARE = 0.1
"""A peak counts if it reaches this share of the largest in its window: codec noise stays below."""
COMPRESSION = 0.5
"""Exponent of a peak's magnitude: quiet chord tones count beside a loud melody."""
FIFTH_LEAK, THIRD_LEAK = 0.2, 0.1
"""Share of a tone's weight that its partials 3 and 5 add a fifth and a major third above it. Measured on
the synthesiser through a codec: taking it off raised mode by sign from .947 to .973 of clips."""


def pitch_class_weights(
    magnitude: Float[np.ndarray, "bin window"], sample_rate_hz: int
) -> Float[np.ndarray, " pitch_class=12"]:
    """Return the compressed magnitude of spectral peaks per pitch class, c first, summed over the clip.

    A peak is placed by a parabola through the log magnitudes of its bin and both neighbours, and weighs
    cos^2 of its distance from the nearest semitone (Gómez 2006, Tonal description of music audio signals).
    """
    frequencies = bin_frequencies_hz(len(magnitude), sample_rate_hz)
    rows = np.flatnonzero((frequencies > LOWEST_HZ) & (frequencies < HIGHEST_HZ))
    here, below, above = (magnitude[rows + shift] for shift in (0, -1, 1))
    least = np.maximum(PEAK_SHARE * here.max(axis=0), 1e-3 * here.max())
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
    """Return the weights of the tones alone: what their partials 3 and 5 added is taken off, >= 0."""
    leak = np.eye(12)
    leak += FIFTH_LEAK * np.roll(np.eye(12), 7, axis=0) + THIRD_LEAK * np.roll(np.eye(12), 4, axis=0)
    return np.maximum(0, np.linalg.solve(leak, weights))


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
