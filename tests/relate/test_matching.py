"""The rule of the acoustic match by hand, its chance, and the price of choosing clips by their label."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from moodlens.base.errors import ContractError
from moodlens.relate.matching import DESCRIPTORS, intended, matched_effects, matches, sides
from moodlens.stats.permutation import p_values, relabellings

VALENCE = np.array([0.7, -0.6, 0.6, 0.5])
AROUSAL = np.array([0.4, -0.5, -0.72, 0.9])
LABELS = np.repeat(np.arange(4), 8)


def test_sides_and_intentions_by_hand():
    assert DESCRIPTORS == ("tempo_bpm", "loudness_db", "centroid_hz", "mode_margin")
    heard = np.array([[60, -30, 500, 0.2], [100, -20, 900, -0.1], [140, -10, 1500, 0.1]], dtype=float)
    assert sides(heard).tolist() == [[-1, -1, -1, 1], [0, 0, 0, -1], [1, 1, 1, 1]]
    assert intended(np.array([-0.6, 0.1]), np.array([-0.5, 0.9])).tolist() == [[-1, -1, -1, -1], [1, 1, 1, 0]]


def test_three_of_four_match_and_two_do_not():
    heard = np.array([[200, 0, 9000, -1], [200, -90, 10, 1], [1, -90, 10, -1], [1, 0, 9000, 1]], dtype=float)
    labels = np.array([[0, 0, 1, 1]])  # happy, happy, sad, sad
    found = matches(heard, VALENCE[:2], AROUSAL[:2], labels)
    assert found.matched[0].tolist() == [True, False, True, False]
    assert found.by_emotion[0].tolist() == [0.5, 0.5]
    assert found.share[0] == 0.5


def test_an_emotion_that_intends_nothing_never_matches_and_none_at_all_is_refused():
    heard = np.random.default_rng(0).normal(size=(8, 4))
    found = matches(heard, np.array([0.0, 0.9]), np.array([0.0, 0.9]), np.array([[0] * 4 + [1] * 4]))
    assert found.by_emotion[0, 0] == 0
    with pytest.raises(ContractError, match=r"valence and arousal must lie at least 0\.15 from the middle"):
        matches(heard, np.zeros(2), np.zeros(2), np.array([[0] * 4 + [1] * 4]))


def test_planted_music_matches_and_labels_dealt_out_anew_do_not():
    rng = np.random.default_rng(1)
    wanted = intended(VALENCE, AROUSAL)[LABELS]
    heard = wanted + 0.2 * rng.normal(size=wanted.shape)
    found = matches(heard, VALENCE, AROUSAL, relabellings(LABELS, 999, rng))
    assert found.share[0] > 0.9
    assert found.share[1:].mean() < 0.6
    assert p_values(found.share) <= 0.002


def test_match_of_music_that_ignores_the_label_is_significant_at_the_nominal_rate():
    rng = np.random.default_rng(2)
    n_sets, hits = 400, 0
    units = np.repeat(np.arange(32), 2)
    for _ in range(n_sets):
        heard = rng.normal(size=(32, 4))[units] + 0.5 * rng.normal(size=(64, 4))
        labels = relabellings(LABELS, 99, rng)[:, units]
        hits += p_values(matches(heard, VALENCE, AROUSAL, labels).share) <= 0.05
    low, high = scipy_stats.binom.interval(0.999, n_sets, 0.05)
    assert hits <= high
    assert hits >= low / 2  # shares are few and tied, which makes the test a little conservative


def test_choosing_clips_by_their_label_makes_an_effect_that_the_test_does_not_take_for_one():
    """Music that ignores the label, states that hold the music: the chosen clips differ, p stays nominal."""
    rng = np.random.default_rng(3)
    n_sets, hits, naive = 200, 0, []
    units = np.repeat(np.arange(32), 2)
    for _ in range(n_sets):
        heard = rng.normal(size=(32, 4))[units] + 0.5 * rng.normal(size=(64, 4))
        states = heard @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(64, 12))
        labels = relabellings(LABELS, 59, rng)
        found = matches(heard, VALENCE, AROUSAL, labels[:, units])
        effect = matched_effects((states @ states.T)[None], found.matched, units, labels).effect[0]
        if np.isfinite(effect[0]):
            hits += p_values(effect[np.isfinite(effect)]) <= 0.05
            naive.append(effect[0])
    low, high = scipy_stats.binom.interval(0.999, n_sets, 0.05)
    assert low / 2 <= hits <= high
    assert np.mean(naive) > 0.2  # choice alone


def test_effect_by_hand_and_without_enough_units():
    x = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    labels = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    every = np.ones((2, 4), dtype=bool)
    found = matched_effects((x @ x.T)[None], every, np.arange(4), labels).effect
    assert found.tolist() == [[2.0, -1.0]]
    every[0, 0] = False
    assert np.isnan(matched_effects((x @ x.T)[None], every, np.arange(4), labels).effect[0, 0])
