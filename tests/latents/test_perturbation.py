"""Targeted perturbation and removal: by hand, on planted latents, on noise, and without a control."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.latents.detectors import detectors, one_hot
from moodlens.latents.matching import Activity
from moodlens.latents.perturbation import (
    Removing,
    emotion_sets,
    matrix_of,
    perturb,
    remove_and_refit,
    selective,
    selectivity_by_wording,
)
from tests.latents.planted import decoder, latents_with, wordings_of

OWN = {klass: [3 * klass, 3 * klass + 1, 3 * klass + 2] for klass in range(4)}
SETTINGS = Removing(n_removed=3, factor=3.0, n_draws=39, ridge=0.1)


def activity_of(latents: np.ndarray) -> Activity:
    return Activity(np.full(latents.shape[1], 0.3), latents.mean(axis=0))


def test_latents_of_an_emotion_are_those_with_the_largest_difference_and_no_other_emotions():
    wordings = wordings_of()
    sets = emotion_sets(latents_with(wordings, OWN), wordings.labels, 4, 3)
    assert [sorted(found) for found in sets] == list(OWN.values())
    shared = emotion_sets(np.array([[5.0, 1.0], [4.0, 0.0], [0.0, 0.0]]), np.array([0, 1, 2]), 3, 2)
    assert [found.tolist() for found in shared] == [[0, 1], [], []]


def test_a_drop_is_the_change_of_the_held_out_score():
    wordings = wordings_of()
    latents, W_dec = latents_with(wordings, OWN), decoder(60, 24)
    result = perturb(latents, W_dec, wordings, activity_of(latents), SETTINGS, np.random.default_rng(0))
    train, test = next(wordings.parts())
    labels = wordings.labels
    found = detectors(latents[train] @ W_dec, one_hot(labels[train], 4), 0.1)
    for klass, members in enumerate(emotion_sets(latents[train], labels[train], 4, 3)):
        left = latents.copy()
        left[:, members] = latents[train][:, members].mean(axis=0)
        fell = found.scores(latents[test] @ W_dec) - found.scores(left[test] @ W_dec)
        expected = fell[np.arange(test.sum()), labels[test]]
        np.testing.assert_allclose(result.drops[klass, test], expected, atol=1e-9)


def test_planted_latents_lower_their_own_emotion_and_matched_ones_do_not():
    wordings = wordings_of()
    latents, W_dec = latents_with(wordings, OWN), decoder(60, 24)
    latents[:, 12:] *= 2  # as active as the planted ones, without an emotion
    result = perturb(latents, W_dec, wordings, activity_of(latents), SETTINGS, np.random.default_rng(0))
    numbers = selective(result, wordings, 999, 0.95, np.random.default_rng(1))
    matrix = matrix_of(result, wordings.labels)
    assert (matrix.argmax(axis=0) == np.arange(4)).all()
    assert numbers.on_target == pytest.approx(np.diag(matrix).mean())
    off_target = matrix[~np.eye(4, dtype=bool)].mean()
    assert numbers.off_target == pytest.approx(off_target)
    assert numbers.selectivity == pytest.approx(numbers.on_target - off_target)
    assert numbers.low <= numbers.selectivity <= numbers.high
    assert numbers.low > 0.3
    assert numbers.control is not None
    assert abs(numbers.control) < 0.1
    assert numbers.p == pytest.approx(1 / 40), "the rank among 39 draws is the larger of the two"


def test_without_emotion_p_is_nominal():
    """Noise latents of 24 wordings: at most as many p below .05 as a binomial allows, 1 in 10,000 beyond."""
    wordings, W_dec, n = wordings_of(4, 6, 3), decoder(40, 12), 80
    ps = []
    for seed in range(n):
        latents = np.random.default_rng(seed).gamma(1.0, size=(24, 40))
        settings = replace(SETTINGS, n_removed=2, n_draws=19)
        result = perturb(
            latents, W_dec, wordings, activity_of(latents), settings, np.random.default_rng(seed)
        )
        ps.append(selective(result, wordings, 199, 0.95, np.random.default_rng(seed)).p)
    assert sum(p <= 0.05 for p in ps) <= binom.ppf(1 - 1e-4, n, 0.05)
    assert np.mean(ps) > 0.4


def test_a_short_pool_leaves_the_matrix_and_no_comparison():
    wordings = wordings_of()
    latents, W_dec = latents_with(wordings, OWN), decoder(60, 24)
    active = activity_of(latents)
    scarce = replace(active, rate=np.where(np.arange(60) < 14, 0.3, 0.001))  # two others as active: 3 needed
    result = perturb(latents, W_dec, wordings, scarce, SETTINGS, np.random.default_rng(0))
    numbers = selective(result, wordings, 199, 0.95, np.random.default_rng(1))
    assert numbers.control is numbers.p is None
    assert numbers.no_control.startswith("no matched control: 3 needed, 2 available")
    assert numbers.selectivity > 0.3
    removal = remove_and_refit(latents, W_dec, wordings, scarce, SETTINGS)
    assert removal.without_chosen is removal.without_matched is None
    assert removal.shortage is not None
    assert (removal.shortage.needed, removal.shortage.available) == (12, 2)
    assert removal.whole.sum() > 0.9


def test_no_draws_are_no_shortage():
    wordings = wordings_of()
    latents = latents_with(wordings, OWN)
    settings = replace(SETTINGS, n_draws=0)
    result = perturb(
        latents, decoder(60, 24), wordings, activity_of(latents), settings, np.random.default_rng(0)
    )
    numbers = selective(result, wordings, 199, 0.95, np.random.default_rng(1))
    assert (numbers.p, numbers.no_control) == (None, "")


def test_removal_takes_the_emotion_away_and_as_many_others_do_not():
    wordings = wordings_of()
    latents, W_dec = latents_with(wordings, OWN, strength=8.0), decoder(60, 80)
    latents[:, 12:] *= 3
    removal = remove_and_refit(latents, W_dec, wordings, activity_of(latents), SETTINGS)
    assert removal.n_removed == 12
    assert removal.without_chosen is not None
    assert removal.without_matched is not None
    assert removal.whole.sum() > 0.95
    assert removal.without_matched.sum() > 0.95
    assert removal.without_chosen.sum() == pytest.approx(0.25, abs=0.2)


def test_selectivity_by_wording_by_hand_and_for_many_draws():
    drops = np.array([[3.0, 1.0, 0.0], [1.0, 1.0, 2.0], [0.0, 0.0, 9.0]])
    expected = [3 - 0.5, 1 - 0.5, 9 - 1]
    assert selectivity_by_wording(drops, np.array([0, 1, 2])).tolist() == expected
    assert selectivity_by_wording(np.stack([drops, drops]), np.array([0, 1, 2])).tolist() == [expected] * 2
