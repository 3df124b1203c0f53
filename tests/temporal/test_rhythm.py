"""Spectra of planted series, and their match with the tempo."""

import numpy as np
import pytest
from scipy.stats import binom, spearmanr

from moodlens.base.errors import ContractError
from moodlens.stats.permutation import p_values
from moodlens.temporal.rhythm import (
    FASTEST_HZ,
    SLOWEST_HZ,
    centroids_hz,
    leading_components,
    peaks_hz,
    relative_spectra,
    tempo_match,
    temporal_covariance,
    token_changes,
    within_emotion,
)

RATE_HZ = 50.0
TIMES_S = np.arange(200) / RATE_HZ


@pytest.mark.parametrize("wanted_hz", [1.0, 1.17, 2.5, 3.1])
def test_a_sine_peaks_at_its_frequency(wanted_hz: float):
    series = np.sin(2 * np.pi * wanted_hz * TIMES_S + 1)[None, :, None]
    frequencies, power = relative_spectra(series, RATE_HZ)
    assert power.sum() == pytest.approx(1)
    assert peaks_hz(frequencies, power, 0.8, 3.4)[0] == pytest.approx(wanted_hz, abs=0.06)


def test_the_peak_is_sought_inside_its_band_only():
    series = (np.sin(2 * np.pi * 2 * TIMES_S) + 3 * np.sin(2 * np.pi * 8 * TIMES_S))[None, :, None]
    frequencies, power = relative_spectra(series, RATE_HZ)
    assert peaks_hz(frequencies, power, 0.8, 3.4)[0] == pytest.approx(2, abs=0.06)
    assert centroids_hz(frequencies, power)[0] == pytest.approx((2 + 9 * 8) / 10, abs=0.1)


def test_a_trend_is_no_rhythm_and_the_basis_plays_no_part():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(2, 200, 3))
    turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    _, plain = relative_spectra(series, RATE_HZ)
    _, other = relative_spectra(series @ turned + 5 * TIMES_S[None, :, None], RATE_HZ)
    assert np.allclose(plain, other)


def test_long_clips_are_averaged_over_segments_of_the_same_resolution():
    short = relative_spectra(np.random.default_rng(1).normal(size=(1, 400, 1)), RATE_HZ)[0]
    long = relative_spectra(np.random.default_rng(1).normal(size=(1, 1500, 1)), RATE_HZ)[0]
    assert np.array_equal(short, long)


def test_a_series_that_never_changes_is_refused():
    with pytest.raises(ContractError, match="must change over time; got 'one state at every step of clip 1'"):
        relative_spectra(np.stack([np.sin(TIMES_S), np.zeros(200)])[:, :, None], RATE_HZ)


def test_a_spectrum_without_the_band_of_tempo_is_refused():
    frequencies, power = relative_spectra(np.random.default_rng(0).normal(size=(1, 4, 1)), RATE_HZ)
    frequencies = frequencies + 10
    with pytest.raises(ContractError, match=r"must resolve 0\.833 to 3\.33 Hz"):
        peaks_hz(frequencies, power, 0.833, 3.333)


def test_components_are_the_directions_of_variance_over_time_not_between_clips():
    rng = np.random.default_rng(2)
    states = rng.normal(size=(6, 50, 4)) * np.array([1.0, 5.0, 0.1, 2.0])
    states += 100 * rng.normal(size=(6, 1, 4)) * np.array([0, 0, 1.0, 0])  # between clips only
    whole = temporal_covariance(states)
    assert np.allclose(whole, temporal_covariance(states[:2]) + temporal_covariance(states[2:]))
    basis = leading_components(whole, 2)
    assert np.abs(basis[1, 0]) == pytest.approx(1, abs=0.02)
    assert np.abs(basis[3, 1]) == pytest.approx(1, abs=0.02)


def test_token_changes_count_codebooks():
    codes = np.array([[[1, 1, 2, 2], [3, 4, 4, 4], [5, 6, 7, 7], [0, 0, 0, 0]]])
    assert token_changes(codes).ravel().tolist() == [0.5, 0.5, 0.0]


RATE_HZ, N_STEPS = 50.0, 200
LABELS = np.repeat([0, 1], 6)
UNITS = np.repeat(np.arange(12), 2)
PLAYED_S = np.arange(N_STEPS) / RATE_HZ


def match(played_hz: np.ndarray, measured_hz: np.ndarray, rng: np.random.Generator, n: int = 199):
    phase = rng.uniform(0, 6, size=(24, 1))
    series = np.sin(2 * np.pi * played_hz[:, None] * PLAYED_S + phase) + rng.normal(size=(24, N_STEPS))
    frequencies, power = relative_spectra(series[:, :, None], RATE_HZ)
    peaks = peaks_hz(frequencies, power, SLOWEST_HZ, FASTEST_HZ)
    exchanges = within_emotion(LABELS, np.ones_like(LABELS), n, rng)
    return tempo_match(frequencies, power, peaks, measured_hz, UNITS, LABELS, exchanges), peaks


def test_states_that_keep_the_beat_match_their_own_tempo():
    rng = np.random.default_rng(0)
    tempo = rng.uniform(1, 3, 12)[UNITS]
    found, peaks = match(tempo, tempo, rng)
    assert found.hits == 1.0
    assert found.hits_chance < 0.4
    assert found.excess > 1
    assert p_values(found.null) == pytest.approx(1 / 200)
    assert found.null[0] > found.null[1:].mean() + 1
    assert found.rho == pytest.approx(spearmanr(peaks[::2] + peaks[1::2], tempo[::2]).statistic)


def test_the_emotions_usual_tempo_alone_is_no_match():
    """Each emotion has its tempo, and states move at some tempo of the emotion, not at the clip's own."""
    rng = np.random.default_rng(1)
    n_runs, rejected, rhos, excess, hits = 200, 0, [], [], []
    for _ in range(n_runs):
        measured, played = ((1.2 + LABELS + rng.uniform(-0.3, 0.3, 12))[UNITS] for _ in range(2))
        found, _ = match(played, measured, rng, n=39)
        rejected += p_values(found.null) <= 0.05
        rhos.append(found.rho)
        excess.append(found.excess)
        hits.append(found.hits - found.hits_chance)
    assert binom.ppf(0.005, n_runs, 0.05) <= rejected <= binom.ppf(0.995, n_runs, 0.05)
    assert np.mean(excess) == pytest.approx(0, abs=0.1)
    assert np.mean(hits) == pytest.approx(0, abs=0.03)
    assert np.mean(rhos) > 0.6  # which is why rho over all emotions carries no p here


def test_exchanges_stay_inside_the_emotion():
    sizes = np.array([1, 1, 1, 2, 2, 2, 1, 2, 1, 2, 1, 3])
    table = within_emotion(LABELS, sizes, 50, np.random.default_rng(0))
    assert table[0].tolist() == list(range(12))
    assert (LABELS[table] == LABELS).all()
    assert (sizes[table] == sizes).all()
    assert len(np.unique(table, axis=0)) > 20
    assert (np.sort(table, axis=1) == np.arange(12)).all()
