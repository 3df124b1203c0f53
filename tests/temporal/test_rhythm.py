"""Tempo in the states: found where it is planted, absent where it is only the emotion's usual tempo."""

import numpy as np
import pytest
from scipy.stats import binom, spearmanr

from moodlens.stats.permutation import p_values
from moodlens.temporal.rhythm import (
    FASTEST_HZ,
    SLOWEST_HZ,
    peaks_hz,
    relative_spectra,
    tempo_match,
    within_emotion,
)

RATE_HZ, N_STEPS = 50.0, 200
LABELS = np.repeat([0, 1], 6)
UNITS = np.repeat(np.arange(12), 2)
TIMES_S = np.arange(N_STEPS) / RATE_HZ


def match(played_hz: np.ndarray, measured_hz: np.ndarray, rng: np.random.Generator, n: int = 199):
    phase = rng.uniform(0, 6, size=(24, 1))
    series = np.sin(2 * np.pi * played_hz[:, None] * TIMES_S + phase) + rng.normal(size=(24, N_STEPS))
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
