"""How fast states move: power spectra of their leading components, of their norms, of the token stream."""

import numpy as np
from jaxtyping import Float, Int
from scipy.signal import welch

from moodlens.base.errors import ContractError, must

SEGMENT_S = 8.0
"""Welch's segments; a shorter clip is one segment. 8 s resolve 0.125 Hz, 7.5 beats per minute."""
PADDED = 4
"""Zero-padding of a segment, which reads a peak more finely than one bin; it adds no resolution."""


def temporal_covariance(
    states: Float[np.ndarray, "clip step d_model"],
) -> Float[np.ndarray, "d_model d_model"]:
    """Return the sum over clips and steps of (x - clip mean)(x - clip mean)^T, to be added over shards.

    >>> temporal_covariance(np.array([[[1.0], [3.0]]])).tolist()
    [[2.0]]
    """
    moved = states - states.mean(axis=1, keepdims=True)
    rows = moved.reshape(-1, states.shape[2])
    return (rows.T @ rows).astype(np.float64)


def leading_components(
    covariance: Float[np.ndarray, "d_model d_model"], n_components: int
) -> Float[np.ndarray, "d_model component"]:
    """Return the directions of largest variance over time, the largest first; labels play no part."""
    _, vectors = np.linalg.eigh(covariance)
    return vectors[:, ::-1][:, :n_components]


def relative_spectra(
    series: Float[np.ndarray, "clip step channel"], rate_hz: float
) -> tuple[Float[np.ndarray, " frequency"], Float[np.ndarray, "clip frequency"]]:
    """Return frequencies in Hz and each clip's power there, as shares that sum to 1.

    Powers of the channels add up, so the result does not depend on the basis they are given in. Welch's
    method (1967), Hann window, linear trend removed; frequency 0 is left out.

    Raises:
        ContractError: a clip's series never changes.
    """
    n_segment = min(series.shape[1], round(SEGMENT_S * rate_hz))
    n_fft = 1 << (PADDED * n_segment - 1).bit_length()
    frequencies, power = welch(
        series.astype(np.float64),
        rate_hz,
        window="hann",
        nperseg=n_segment,
        nfft=n_fft,
        detrend="linear",
        axis=1,
    )
    total = power.sum(axis=2)[:, 1:]
    sums = total.sum(axis=1, keepdims=True)
    if (sums <= 0).any():
        got = f"one state at every step of clip {int(sums.argmin())}"
        raise ContractError(must("a clip", "change over time", got, next_step="Check the capture"))
    return frequencies[1:], total / sums


def centroids_hz(
    frequencies: Float[np.ndarray, " frequency"], power: Float[np.ndarray, "clip frequency"]
) -> Float[np.ndarray, " clip"]:
    """Return the mean frequency of each clip, weighted by power.

    >>> centroids_hz(np.array([1.0, 3.0]), np.array([[0.5, 0.5]])).tolist()
    [2.0]
    """
    return power @ frequencies / power.sum(axis=1)


def peaks_hz(
    frequencies: Float[np.ndarray, " frequency"],
    power: Float[np.ndarray, "clip frequency"],
    low_hz: float,
    high_hz: float,
) -> Float[np.ndarray, " clip"]:
    """Return the frequency of most power within low_hz..high_hz, for each clip.

    Raises:
        ContractError: the band holds no frequency.
    """
    band = (frequencies >= low_hz) & (frequencies <= high_hz)
    if not band.any():
        got = f"{frequencies[0]:.3g} to {frequencies[-1]:.3g} Hz"
        rule = f"resolve {low_hz:.3g} to {high_hz:.3g} Hz"
        raise ContractError(must("the spectrum", rule, got, next_step="Raise generate.duration_s"))
    return frequencies[band][power[:, band].argmax(axis=1)]


def token_changes(codes: Int[np.ndarray, "clip codebook frame"]) -> Float[np.ndarray, "clip frame 1"]:
    """Return the share of codebooks whose token differs from the frame before: the token stream's own rhythm.

    >>> token_changes(np.array([[[1, 1, 2], [5, 5, 5]]])).ravel().tolist()
    [0.0, 0.5]
    """
    return (np.diff(codes, axis=2) != 0).mean(axis=1)[:, :, None]
