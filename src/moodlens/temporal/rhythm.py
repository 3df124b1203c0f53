"""Rhythm in the states: power spectra over time, and their match with the tempo of the clip's own audio.

Spectra are taken of the leading components of the states, of their norms, and of the token stream. A tempo of
b beats per minute predicts power at b / 60 Hz.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.signal import welch
from scipy.stats import rankdata

from moodlens.base.errors import ContractError, Unsupported, must
from moodlens.stats.gram import mean_weights
from moodlens.stats.permutation import crossed, p_values, unit_orders

SEGMENT_S = 8.0
"""Length of Welch's segments; a shorter clip is one segment. 8 s resolve 0.125 Hz, 7.5 beats per minute."""
PADDED = 4
"""Zero-padding factor of a segment: it locates a peak more finely than one bin but adds no resolution."""


def temporal_covariance(
    states: Float[np.ndarray, "clip step d_model"],
) -> Float[np.ndarray, "d_model d_model"]:
    """Return the sum over clips and steps of (x - clip mean)(x - clip mean)^T; add the results of all shards.

    >>> temporal_covariance(np.array([[[1.0], [3.0]]])).tolist()
    [[2.0]]
    """
    moved = states - states.mean(axis=1, keepdims=True)
    rows = moved.reshape(-1, states.shape[2])
    return (rows.T @ rows).astype(np.float64)


def leading_components(
    covariance: Float[np.ndarray, "d_model d_model"], n_components: int
) -> Float[np.ndarray, "d_model component"]:
    """Return the directions of largest variance over time, the largest first. Labels are not used."""
    _, vectors = np.linalg.eigh(covariance)
    return vectors[:, ::-1][:, :n_components]


def relative_spectra(
    series: Float[np.ndarray, "clip step channel"], rate_hz: float
) -> tuple[Float[np.ndarray, " frequency"], Float[np.ndarray, "clip frequency"]]:
    """Return frequencies in Hz and each clip's power there, as shares that sum to 1.

    The powers of the channels are summed, so the result does not depend on their basis. Welch's
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
        raise Unsupported(must("the spectrum", rule, got, next_step="Raise generate.duration_s"))
    return frequencies[band][power[:, band].argmax(axis=1)]


def token_changes(codes: Int[np.ndarray, "clip codebook frame"]) -> Float[np.ndarray, "clip frame 1"]:
    """Return the share of codebooks whose token differs from that of the previous frame.

    >>> token_changes(np.array([[[1, 1, 2], [5, 5, 5]]])).ravel().tolist()
    [0.0, 0.5]
    """
    return (np.diff(codes, axis=2) != 0).mean(axis=1)[:, :, None]


SLOWEST_HZ, FASTEST_HZ = 50 / 60, 200 / 60
"""Range of tempo measured in the audio, in beats per second."""
TOLERANCE = 0.08
"""A tempo counts as correct within 8 % (`mir_eval.tempo.detection`)."""


@dataclass(frozen=True)
class TempoMatch:
    """Match of one series (a layer's components, its norm, ...) with the tempo of the clips."""

    excess: float  # log power at the own tempo minus that at tempos of other wordings of the same emotion
    hits: float  # share of clips whose strongest frequency in the range is the clip's tempo within 8 %
    hits_chance: float  # the same for tempos of other wordings of the same emotion
    rho: float  # Spearman's rank correlation of peak and tempo, units as points, over all emotions
    null: Float[np.ndarray, " perm"]  # excess under each exchange; element 0 is the observed one


def tempo_match(
    frequencies: Float[np.ndarray, " frequency"],
    power: Float[np.ndarray, "clip frequency"],
    peaks: Float[np.ndarray, " clip"],
    tempo_hz: Float[np.ndarray, " clip"],
    units: Int[np.ndarray, " clip"],
    labels: Int[np.ndarray, " unit"],
    exchanges: Int[np.ndarray, "perm unit"],
) -> TempoMatch:
    """Return the match of the spectra of the states with the tempo measured in the audio.

    Args:
        frequencies: Hz.
        power: relative power of each clip.
        peaks: strongest frequency of each clip in the range of tempo, Hz.
        tempo_hz: measured tempo of each clip, beats per second.
        units: unit (wording) of each clip.
        labels: emotion of each unit.
        exchanges: the unit whose tempos each unit is compared with, from `within_emotion`.
    """
    means = mean_weights(units)
    nearest = np.abs(frequencies[None, :] - tempo_hz[:, None]).argmin(axis=1)
    tempos = means @ (np.arange(len(frequencies)) == nearest[:, None])
    # fit[a, b]: mean log power of unit a's clips at the tempos of unit b's clips.
    fit = (means @ np.log(np.maximum(power, np.finfo(float).tiny))) @ tempos.T
    null = fit[np.arange(len(labels)), exchanges].mean(axis=1)
    others = _others(labels)
    chance = (fit * others).sum(axis=1) / np.maximum(others.sum(axis=1), 1)
    comparable = others.any(axis=1)
    hit = np.abs(peaks[:, None] / tempo_hz[None, :] - 1) < TOLERANCE
    foreign = _others(labels)[units][:, units]
    rho = _rank_correlation(means @ peaks, means @ tempo_hz)
    return TempoMatch(
        excess=float((np.diag(fit) - chance)[comparable].mean()),
        hits=float(np.diag(hit).mean()),
        hits_chance=float(hit[foreign].mean()),
        rho=rho,
        null=null,
    )


def excess_p(matches: list[TempoMatch]) -> Float[np.ndarray, " series"]:
    """Return the unadjusted p of each series' excess, tempos exchanged between wordings of one emotion."""
    return p_values(np.stack([match.null for match in matches]))


def within_emotion(
    labels: Int[np.ndarray, " unit"],
    sizes: Int[np.ndarray, " unit"],
    n_permutations: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "perm unit"]:
    """Return exchanges of units within their emotion; row 0 exchanges nothing.

    The typical tempo of an emotion then gives no advantage. Only units of equal size (number of prompts) are
    exchanged, because means of few prompts scatter more.
    """
    return unit_orders(len(labels), n_permutations, rng, crossed(labels, sizes))


def _others(labels: Int[np.ndarray, " unit"]) -> Bool[np.ndarray, "unit unit"]:
    return (labels[:, None] == labels[None, :]) & ~np.eye(len(labels), dtype=bool)


def _rank_correlation(a: Float[np.ndarray, " unit"], b: Float[np.ndarray, " unit"]) -> float:
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (a, b)]
    norm = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
    return float(ranks[0] @ ranks[1]) / norm if norm > 0 else 0.0
