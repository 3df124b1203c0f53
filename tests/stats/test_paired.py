"""Sign flips over whole units: hand-worked p, whole wordings move together, the best of many is corrected."""

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.stats.sign_flip import better_p
from tests.stats.synthetic import design


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
