"""Sign flips: against scipy's permutation test, hand-worked p, nominal rates, and the errors."""

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import binom

from moodlens.base.errors import ContractError
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import p_values
from moodlens.stats.sign_flip import (
    better_p,
    flipped_t,
    fold_factor,
    require_gain_reachable,
    sign_flips,
    smallest_flip_p,
    smallest_gain_p,
)
from tests.stats.synthetic import design


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


@pytest.mark.parametrize("n_folds", [1, 4, 8])
@pytest.mark.parametrize("n", [3, 6, 9])
def test_the_smallest_p_of_a_gain_is_the_least_over_all_flips_of_all_gains(n, n_folds):
    """Every flip of n units, written out, for gains of 0 and 1 and for random ones."""
    every = np.array(list(product([1.0, -1.0], repeat=n)))
    candidates = [np.repeat([1.0, 0.0], [m, n - m]) for m in range(1, n + 1)]
    rng = np.random.default_rng(n)
    candidates += [rng.uniform(0.5, 1, n) for _ in range(200)]
    p = [np.mean(every @ gains >= gains.sum() / fold_factor(n_folds) - 1e-9) for gains in candidates]
    assert smallest_gain_p(n, n_folds, 10**9) == pytest.approx(min(p[:n]))
    assert min(p) >= smallest_gain_p(n, n_folds, 10**9) - 1e-12
    assert smallest_gain_p(n, n_folds, 19) == max(min(p[:n]), 1 / 20)


def test_a_comparison_that_cannot_reach_its_threshold_says_how_many_wordings_can():
    with pytest.raises(
        ContractError, match=r"at least 6 wordings in all to reach p < 0\.025 .* got '5, smallest p 0\.031'"
    ):
        require_gain_reachable("the comparison with the twin", 5, 8, 2000, 0.025)
    require_gain_reachable("the comparison with the twin", 6, 8, 2000, 0.025)
    with pytest.raises(
        ContractError, match=r"sign flips for the comparison .* must be at least 40 .* got 30"
    ):
        require_gain_reachable("the comparison with the twin", 50, 8, 30, 0.025)


def test_p_of_unanimous_units_is_two_to_the_minus_n():
    made = design(4, 4)
    p = better_p(np.ones((1, 8)), np.zeros(8), made, "prompt", 1, 20_000, np.random.default_rng(0))
    assert p[0] == pytest.approx(2.0**-8, abs=0.0015)


def test_prompts_of_one_wording_share_a_sign():
    made = design(4, 4, per_wording=2)
    p = better_p(np.ones((1, 8)), np.zeros(8), made, "wording", 1, 20_000, np.random.default_rng(0))
    assert p[0] == pytest.approx(2.0**-4, abs=0.006)


def test_a_probe_equal_to_its_baseline_is_not_better_and_a_worse_one_less_so():
    made, rng = design(10, 10), np.random.default_rng(1)
    base = rng.integers(0, 2, 20).astype(float)
    assert better_p(base[None], base, made, "prompt", 1, 99, rng)[0] == 1
    assert better_p(np.zeros((1, 20)), base, made, "prompt", 1, 999, rng)[0] > 0.9


def test_the_best_of_many_equal_probes_is_corrected():
    made, alarms, single, n_sims = design(12, 12), 0, 0, 300
    for seed in range(n_sims):
        rng = np.random.default_rng([seed, 3])
        correct = (rng.uniform(size=(9, 24)) < 0.7).astype(float)
        p = better_p(correct[:8], correct[8], made, "prompt", 1, 199, rng)
        alarms += p.min() <= 0.05
        best = int(correct[:8].mean(axis=1).argmax())
        single += better_p(correct[best : best + 1], correct[8], made, "prompt", 1, 199, rng)[0] <= 0.05
    assert alarms <= binom.ppf(0.999, n_sims, 0.05)
    assert single > binom.ppf(0.999, n_sims, 0.05)


def test_folds_that_share_training_data_make_the_test_stricter():
    made = design(10, 10)
    gains = np.repeat([1.0, 0.0], [14, 6])[None]
    plain, corrected = (
        better_p(gains, 1 - gains[0], made, "prompt", folds, 9999, np.random.default_rng(0))[0]
        for folds in (1, 8)
    )
    # 14 of 20 signs up; with 8 folds the sum of 8 counts as 8 / 1.464 = 5.5: at least 13 up.
    assert plain == pytest.approx(0.0577, abs=0.01)
    assert corrected == pytest.approx(0.1316, abs=0.015)
