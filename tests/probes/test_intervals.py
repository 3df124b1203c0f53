import numpy as np
import pytest
from scipy.stats import binomtest

from moodlens.probes.family import accuracy_interval
from moodlens.stats.bootstrap import class_means, resamples
from tests.stats.synthetic import design


def test_at_one_and_zero_it_is_clopper_and_pearson_over_units():
    exact = binomtest(20, 20).proportion_ci(0.9, "exact")
    assert accuracy_interval(1.0, np.ones(50), 20, 60, 0.9) == pytest.approx((exact.low, 1))
    exact = binomtest(0, 20).proportion_ci(0.9, "exact")
    assert accuracy_interval(0.0, np.zeros(50), 20, 60, 0.9) == pytest.approx((0, exact.high))


def test_independent_prompts_give_the_exact_binomial_interval():
    draws = np.random.default_rng(0).binomial(50, 0.8, size=200_000) / 50
    exact = binomtest(40, 50).proportion_ci(0.95, "exact")
    assert accuracy_interval(0.8, draws, 50, 50, 0.95) == pytest.approx((exact.low, exact.high), abs=0.002)


@pytest.mark.parametrize("truth", [0.6, 0.9, 0.98])
@pytest.mark.parametrize("copies", [False, True])
def test_it_covers_at_least_as_often_as_it_says_also_near_one(truth, copies):
    """18 wordings of two prompts, right together or each alone; the percentile bootstrap fails at .98."""
    made, covered, percentile = design(18, 18, per_wording=2), 0, 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 41])
        right = (rng.uniform(size=18) < truth)[made.wordings] if copies else rng.uniform(size=36) < truth
        draws = class_means(right.astype(float), made.labels, resamples(made, "wording", 200, rng))
        low, high = accuracy_interval(float(right.mean()), draws, 18, 36, 0.9)
        covered += low <= truth <= high
        percentile += np.quantile(draws, 0.05) <= truth <= np.quantile(draws, 0.95)
    assert covered >= 170
    if truth == 0.98:
        assert percentile < 170
