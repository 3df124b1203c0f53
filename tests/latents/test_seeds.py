"""Intervals over SAE seeds: the t interval by another implementation, and coverage for pairs."""

import numpy as np
import pytest
from scipy import stats

from moodlens.latents.seeds import over_pairs, over_seeds


def test_a_number_of_each_seed_has_the_t_interval():
    values = np.array([0.2, 0.5, 0.4, 0.3, 0.6])
    low, high = stats.t.interval(0.9, 4, values.mean(), stats.sem(values))
    found = over_seeds(values, 0.9)
    assert (found.mean, found.low, found.high) == pytest.approx((0.4, low, high))


def test_pairs_cover_their_mean_and_a_plain_interval_of_seed_means_does_not():
    """Agreement of i and j is a_i + a_j + noise; five seeds, mean 0, 95 %."""
    rng, n, covered, plain = np.random.default_rng(0), 5, [], []
    for _ in range(400):
        own = rng.standard_normal(n)
        pairs = own[:, None] + own + 0.1 * rng.standard_normal((n, n))
        found = over_pairs(pairs, 0.95)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= 0 <= found.high)
        of_seed = (pairs.sum(axis=1) - np.diag(pairs)) / (n - 1)
        low, high = stats.t.interval(0.95, n - 1, of_seed.mean(), stats.sem(of_seed))
        plain.append(low <= 0 <= high)
    assert np.mean(covered) > stats.binom.ppf(1e-4, 400, 0.95) / 400
    assert np.mean(plain) < 0.9


def test_too_few_seeds_have_no_interval():
    assert over_pairs(np.ones((1, 1)), 0.95) is None
    two = over_pairs(np.array([[9.0, 0.3], [0.5, 9.0]]), 0.95)
    assert two is not None
    assert (two.mean, two.low, two.high) == (0.4, None, None)
    assert over_seeds(np.array([0.7]), 0.95).low is None
