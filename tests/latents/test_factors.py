"""Disentanglement on known factors: units of their own, mixed units, copies, correlated factors, noise."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from moodlens.latents.factors import errors_of, factor_scores, measures_of, most_varying

NAMES = ("onset rate", "loudness", "brightness", "mode")
N = 80
FOLDS = np.arange(N) // 2 % 8
ONES = np.ones((1, N))


def known(seed: int = 0) -> np.ndarray:
    """Four independent factors, one value per prompt."""
    return np.random.default_rng(seed).standard_normal((N, 4))


def mean_of(units: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """R2, gap and modularity, mean over factors."""
    return measures_of(errors_of(units, factors, FOLDS), ONES)[:, :, 0].mean(axis=1)


def test_units_of_one_factor_each_score_one_and_their_rotation_scores_low():
    factors, rng = known(), np.random.default_rng(1)
    units = np.hstack([factors, rng.standard_normal((N, 12))])
    assert mean_of(units, factors) == pytest.approx(1, abs=0.02)
    rotation = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    r2, gap, modularity = mean_of(units @ rotation, factors)
    assert r2 < 0.5
    assert gap < 0.2
    assert modularity < 0.5


def test_a_second_copy_takes_the_gap_and_not_the_modularity():
    factors = known()
    copies = np.hstack([factors, factors + 0.01 * known(3)])
    r2, gap, modularity = mean_of(copies, factors)
    assert (r2, modularity) == pytest.approx((1, 1), abs=0.02)
    assert gap == pytest.approx(0, abs=0.02)


def test_a_unit_of_two_factors_takes_the_modularity():
    factors = known()
    units = np.stack([factors[:, 0] + factors[:, 1], factors[:, 2], factors[:, 3]], axis=1)
    by_factor = measures_of(errors_of(units, factors, FOLDS), ONES)[:, :, 0]
    assert by_factor[2, :2] == pytest.approx(0, abs=0.25)
    assert by_factor[2, 2:] == pytest.approx(1, abs=0.02)


def test_correlated_factors_bound_what_their_own_units_reach():
    factors = known()
    factors[:, 1] = factors[:, 0] + 0.5 * factors[:, 1]
    by_factor = measures_of(errors_of(factors, factors, FOLDS), ONES)[:, :, 0]
    r2 = np.corrcoef(factors[:, 0], factors[:, 1])[0, 1] ** 2
    assert by_factor[0] == pytest.approx(1)
    assert by_factor[2, 0] == pytest.approx(1 - r2, abs=0.05)


def test_units_at_right_angles_can_have_a_larger_gap_than_the_factors_themselves():
    factors = known()[:, :2]
    factors[:, 1] = factors[:, 0] + 0.5 * factors[:, 1]
    scaled = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    components = scaled @ np.linalg.eigh(scaled.T @ scaled)[1]
    assert mean_of(components, factors)[1] > mean_of(factors, factors)[1] + 0.1
    assert mean_of(components, factors)[2] < mean_of(factors, factors)[2]


def test_errors_are_those_of_a_line_fitted_on_the_other_folds():
    rng = np.random.default_rng(4)
    factors, units = known(), rng.standard_normal((N, 2))
    units[:, 1] += factors[:, 0]
    found = errors_of(units, factors[:, :1], FOLDS)
    for fold in range(8):
        test = fold == FOLDS
        line = LinearRegression().fit(units[~test][:, [1]], factors[~test, 0])
        expected = (factors[test, 0] - line.predict(units[test][:, [1]])) ** 2
        np.testing.assert_allclose(found.best[0, test], expected)
        np.testing.assert_allclose(found.mean[0, test], (factors[test, 0] - factors[~test, 0].mean()) ** 2)


def test_noise_explains_nothing_although_the_best_of_many_units_is_taken():
    rng = np.random.default_rng(5)
    assert mean_of(rng.standard_normal((N, 200)), known())[0] < 0.03


def test_scores_name_factors_and_gains_are_against_the_sae():
    factors, rng = known(), np.random.default_rng(6)
    units = np.hstack([factors, rng.standard_normal((N, 12))])
    draws = [
        errors_of(units @ np.linalg.qr(rng.standard_normal((16, 16)))[0], factors, FOLDS) for _ in range(3)
    ]
    counts = np.random.default_rng(7).multinomial(N, np.full(N, 1 / N), 200)
    scores = factor_scores({"sae": [errors_of(units, factors, FOLDS)], "random": draws}, NAMES, counts, 0.95)
    own, random = scores["sae"], scores["random"]
    assert list(own.by_factor) == list(NAMES)
    assert own.gain == {}
    assert random.gain["gap"] == pytest.approx(own.mean["gap"] - random.mean["gap"])
    assert 0 < random.gain_low["gap"] < random.gain["gap"] < random.gain_high["gap"]
    assert own.low["r2"] <= own.mean["r2"] <= own.high["r2"]
    assert random.mean["r2"] == pytest.approx(np.mean([measures_of(one, ONES)[0].mean() for one in draws]))


def test_units_that_vary_most_are_kept_in_their_order_and_constant_ones_are_harmless():
    units = np.array([[1.0, 5.0, 0.0, 9.0], [1.0, 6.0, 3.0, 0.0]])
    assert most_varying(units, 2).tolist() == [[0.0, 9.0], [3.0, 0.0]]
    factors = known()
    assert mean_of(np.hstack([np.full((N, 3), 7.0), factors]), factors) == pytest.approx(1, abs=0.02)
