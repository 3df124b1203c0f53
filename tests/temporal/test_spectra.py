"""Spectra: sines at known frequencies, shares that sum to one, components of a planted covariance."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.temporal.rhythm import (
    centroids_hz,
    leading_components,
    peaks_hz,
    relative_spectra,
    temporal_covariance,
    token_changes,
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
