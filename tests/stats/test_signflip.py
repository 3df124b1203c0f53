"""Sign flips against scipy's permutation test, at their nominal rate, and where they must refuse."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from moodlens.base.errors import ContractError
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import p_values
from moodlens.stats.sign_flip import flipped_t, sign_flips, smallest_flip_p


def test_all_flips_give_the_exact_p_of_scipy():
    rng = np.random.default_rng(0)
    d = rng.normal(0.6, 1, (1, 9))
    every = np.array(np.meshgrid(*[[1, -1]] * 9)).reshape(9, -1).T
    assert (every[0] == 1).all()
    found = p_values(flipped_t(d, every))[0]
    exact = scipy_stats.permutation_test(
        (d[0],), lambda x: np.abs(scipy_stats.ttest_1samp(x, 0).statistic),
        permutation_type="samples", n_resamples=np.inf, alternative="greater", vectorized=False,
    )  # fmt: skip
    assert found == pytest.approx(exact.pvalue)
    assert flipped_t(d, every)[0, 0] == pytest.approx(abs(scipy_stats.ttest_1samp(d[0], 0).statistic))


def test_a_flip_of_all_signs_is_as_extreme_as_none():
    d = np.random.default_rng(1).normal(size=(3, 7))
    t = flipped_t(d, np.array([[1] * 7, [-1] * 7]))
    np.testing.assert_allclose(t[:, 0], t[:, 1])
    assert flipped_t(np.zeros((1, 6)), np.ones((2, 6), dtype=np.int8)).tolist() == [[0.0, 0.0]]


def test_false_positives_over_many_heads_come_at_the_nominal_rate():
    """36 correlated heads, skewed around nothing by no more than chance: maxT at .05 over 400 data sets."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        common = rng.standard_normal((1, 20))
        d = 0.7 * common + rng.standard_t(4, (36, 20))
        hits += max_t(flipped_t(d, sign_flips(20, 199, rng))).min() <= 0.05
    low, high = scipy_stats.binom.interval(0.999, 400, 0.05)
    assert low <= hits <= high


def test_a_planted_difference_is_found_in_its_place():
    rng = np.random.default_rng(3)
    d = rng.standard_normal((36, 20))
    d[17] -= 2
    adjusted = max_t(flipped_t(d, sign_flips(20, 999, rng)))
    assert adjusted.argmin() == 17
    assert adjusted[17] < 0.01


def test_too_few_units_are_refused_with_their_number():
    with pytest.raises(ContractError, match="must have at least 6 units; got 5"):
        sign_flips(5, 99, np.random.default_rng(0))
    assert smallest_flip_p(30, 999) == 0.001
