"""Matched controls: by hand, against a brute-force search, and never a smaller set."""

from itertools import permutations

import numpy as np
import pytest

from moodlens.latents.matching import Activity, Shortage, distances, matched, matched_draws


def alike(rates: list[float]) -> Activity:
    """Latents whose mean activation is proportional to their rate."""
    return Activity(np.array(rates), 3 * np.array(rates))


def test_partners_are_nearest_and_each_is_taken_once():
    activity = alike([0.50, 0.40, 0.49, 0.35, 0.10, 0.42])
    assert matched(activity, np.array([0, 1]), np.array([2, 3, 4, 5]), 2.0) == pytest.approx([2, 5])


def test_rate_and_mean_both_count():
    activity = Activity(np.array([0.2, 0.2, 0.3]), np.array([1.0, 9.0, 1.1]))
    one = np.array([0])
    assert matched(activity, one, np.array([1, 2]), 2.0) == pytest.approx([2])
    assert isinstance(matched(activity, one, np.array([1]), 2.0), Shortage)
    assert isinstance(matched(activity, one, np.array([1]), 8.9), Shortage)
    assert matched(activity, one, np.array([1]), 9.1) == pytest.approx([1])


def test_a_short_pool_is_a_shortage_and_never_a_smaller_set():
    activity = alike([0.1] * 768)
    chosen, pool = np.arange(591), np.arange(591, 768)
    short = matched(activity, chosen, pool, 2.0)
    assert short == Shortage(591, 177, 2.0)
    assert short.sentence.startswith("no matched control: 591 needed, 177 available")
    assert matched_draws(activity, chosen, pool, 2.0, 3, np.random.default_rng(0)) == short


def test_a_pool_shorter_than_the_set_is_counted_whatever_its_activity():
    """Only latents that fire count: of the pool of four, one never does."""
    activity = alike([0.1] * 5 + [0.9] * 3 + [0.0])
    assert matched(activity, np.arange(5), np.arange(5, 9), 2.0) == Shortage(5, 3, 2.0)


def test_a_large_pool_of_another_activity_is_a_shortage_too():
    activity = alike([0.5, 0.5, 0.5] + [0.4] * 2 + [0.01] * 50)
    assert matched(activity, np.arange(3), np.arange(3, 55), 2.0) == Shortage(3, 2, 2.0)


def test_a_latent_that_never_fires_has_no_partner_and_is_none():
    activity = Activity(np.array([0.0, 0.0, 0.1, 0.1]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert matched(activity, np.array([0]), np.array([1, 2, 3]), 2.0) == Shortage(1, 0, 2.0)
    assert matched(activity, np.array([2]), np.array([0, 1]), 2.0) == Shortage(1, 0, 2.0)


def test_the_assignment_is_the_best_of_all():
    rng = np.random.default_rng(3)
    activity = Activity(rng.uniform(0.1, 1, 9), rng.uniform(1, 5, 9))
    chosen, pool = np.arange(3), np.arange(3, 9)
    apart = distances(activity, chosen, pool)
    best = min(permutations(range(6), 3), key=lambda order: sum(apart[i, j] for i, j in enumerate(order)))
    assert matched(activity, chosen, pool, 100.0) == pytest.approx(pool[list(best)])


def test_greedy_choice_would_miss_a_set_that_exists():
    """Latent 0 is nearest to 2, and so is 1, whose only lawful partner is 2."""
    activity = Activity(np.array([0.20, 0.30, 0.21, 0.11]), np.array([1.0, 1.0, 1.0, 1.0]))
    assert matched(activity, np.array([0, 1]), np.array([2, 3]), 2.0) == pytest.approx([3, 2])


def test_draws_differ_are_lawful_and_reach_every_partner():
    rng = np.random.default_rng(1)
    activity = alike([0.3, 0.3] + [0.25, 0.3, 0.35, 0.4] + [0.9] * 5)
    draws = matched_draws(activity, np.arange(2), np.arange(2, 11), 1.5, 200, rng)
    assert isinstance(draws, np.ndarray)
    assert set(draws.ravel()) == {2, 3, 4, 5}
    assert (draws[:, 0] != draws[:, 1]).all()
    counts = np.bincount(draws[:, 0], minlength=6)[2:6]
    assert counts.min() > 30, "each of four partners about 50 times"
