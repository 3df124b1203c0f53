"""A family of sites through the probe, and the intervals of accuracies."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from moodlens.probes.controls import Comparison, difference
from moodlens.probes.family import ProbeSettings, accuracy_interval, probe_family
from moodlens.stats.bootstrap import class_means, resamples
from moodlens.stats.sign_flip import better_p
from tests.stats.synthetic import design, in_pairs, sites

SETTINGS = ProbeSettings(n_folds=6, ridge=0.1, n_permutations=199, n_bootstrap=200, confidence=0.95, seed=0)


@pytest.fixture(scope="module")
def planted():
    made = design(12, 12, 12, per_wording=2)
    layers = sites(made, np.random.default_rng(0), n_layers=3, share=0.4, layer=1)
    return made, layers


@pytest.mark.parametrize("unit", ["prompt", "wording"])
def test_the_planted_layer_is_the_best_and_beats_its_controls(planted, unit):
    made, layers = planted
    found = probe_family(layers, made, unit, SETTINGS)
    assert found.best.site == "residual.1"
    assert found.best.accuracy > 0.75
    assert found.best.low <= found.best.accuracy <= found.best.high
    assert found.best.ridge_accuracy > found.permuted_extreme
    assert found.p == found.best.p_max == pytest.approx(1 / 200)
    assert found.best.selectivity == pytest.approx(found.best.ridge_accuracy - 1 / 3, abs=0.08)
    quiet = found.sites[0]
    correct = np.stack([site.correct for site in found.sites])
    how = Comparison(SETTINGS.n_folds, 200, 999, 0.95)
    gain = difference("layer 0", correct, 1, quiet.correct, made, unit, how, np.random.default_rng(1))
    assert gain.low > 0
    assert gain.p < 0.025
    assert gain.difference == pytest.approx(found.best.accuracy - max(quiet.accuracy, 1 / 3))
    by_site = difference("itself", correct, 1, correct, made, unit, how, np.random.default_rng(1))
    assert (by_site.difference, by_site.low, by_site.high, by_site.p) == (0, 0, 0, 1)


def test_a_site_that_carries_the_wording_only_is_read_by_prompt_and_not_by_wording():
    made = design(16, 16, 16, 16, per_wording=4)
    words = sites(made, np.random.default_rng(3), icc=0.95, wording=0.95)
    assert probe_family(words, made, "prompt", SETTINGS).best.accuracy > 0.9
    held_out = probe_family(words, made, "wording", SETTINGS)
    assert held_out.best.accuracy < 0.5
    assert held_out.p > 0.05


def test_every_family_is_read_on_the_same_folds(planted):
    made, layers = planted
    one, two = (probe_family(part, made, "prompt", SETTINGS) for part in (layers[:1], layers))
    assert one.best.correct.tolist() == two.sites[0].correct.tolist()
    assert one.best.ridge_accuracy == two.sites[0].ridge_accuracy


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


def test_the_closed_form_probe_takes_its_penalties_from_the_grid(planted):
    made, layers = planted
    one = probe_family(layers, made, "prompt", replace(SETTINGS, ridge_grid=(10.0,)))
    same = probe_family(layers, made, "prompt", replace(SETTINGS, ridge=10.0))
    both = probe_family(layers, made, "prompt", replace(SETTINGS, ridge_grid=(0.1, 10.0)))
    plain = probe_family(layers, made, "prompt", SETTINGS)
    for a, b, c, d in zip(one.sites, same.sites, both.sites, plain.sites, strict=True):
        assert a.ridge_accuracy == b.ridge_accuracy
        assert c.ridge_accuracy == max(a.ridge_accuracy, d.ridge_accuracy)
    assert any(a.ridge_accuracy != d.ridge_accuracy for a, d in zip(one.sites, plain.sites, strict=True))


@pytest.mark.parametrize("unit", ["prompt", "wording"])
def test_labels_stay_in_their_strata(unit):
    made = in_pairs(6)
    felt = sites(made, np.random.default_rng(3), share=0.9)
    found = probe_family(felt, made, unit, replace(SETTINGS, n_permutations=999, n_folds=4))
    assert found.best.ridge_accuracy == 1
    assert found.smallest_p == pytest.approx(1 / 32)
    assert found.p == pytest.approx(1 / 32, abs=0.015)


def test_a_baseline_below_chance_counts_as_chance():
    made, how = design(9, 9, 9, 9), Comparison(8, 200, 499, 0.95)
    never, always = np.zeros(36), np.ones(36)

    def against(correct: np.ndarray, chosen: int, baseline: np.ndarray):
        rng = np.random.default_rng(0)
        return difference("words", correct, chosen, baseline, made, "wording", how, rng)

    found = against(always[None], 0, never)
    assert (found.accuracy, found.difference) == (0, 0.75)
    assert found.low == found.high == pytest.approx(0.75)
    assert against(np.stack([never, always]), 1, np.stack([never, never])).difference == 0.75
    above = against(always[None], 0, np.repeat([1.0, 0, 1, 0], 9))
    assert (above.accuracy, above.difference) == (0.5, 0.5)


def test_a_probe_at_chance_does_not_beat_a_baseline_below_it():
    made, how, n_sims = design(9, 9, 9, 9), Comparison(8, 50, 199, 0.95), 300
    beaten = plain = 0
    for seed in range(n_sims):
        rng = np.random.default_rng(seed)
        guess = (rng.uniform(size=36) < 0.25).astype(float)
        beaten += difference("words", guess[None], 0, np.zeros(36), made, "wording", how, rng).p < 0.025
        plain += better_p(guess[None], np.zeros(36), made, "wording", 8, 199, rng)[0] < 0.025
    assert beaten <= binom.ppf(0.999, n_sims, 0.025)
    assert plain > 0.2 * n_sims
