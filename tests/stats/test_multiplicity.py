import numpy as np
from scipy.stats import binom, false_discovery_control

from moodlens.stats.gram import prompt_grams
from moodlens.stats.multiplicity import benjamini_hochberg, max_t
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings
from tests.stats.synthetic import design, sites


def test_step_down_max_t_by_hand():
    # Two tests of equal mean and spread; the better one meets the larger of both, the other only itself.
    statistics = np.array([[3.0, 2, 1, 0], [2.0, 0, 3, 1]])
    assert max_t(statistics).tolist() == [0.5, 0.5]
    assert p_values(statistics).tolist() == [0.25, 0.5]


def test_adjusted_p_is_never_below_the_single_one_and_scale_free():
    rng = np.random.default_rng(0)
    statistics = rng.normal(size=(6, 400))
    adjusted = max_t(statistics)
    assert (adjusted >= p_values(statistics) - 1e-12).all()
    scaled = statistics * np.arange(1, 7)[:, None] + 5
    np.testing.assert_allclose(max_t(scaled), adjusted)


def test_q_equals_scipy():
    p = np.random.default_rng(1).uniform(size=40) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))


def test_the_family_cries_wolf_at_its_nominal_rate():
    """Eight layers without effect, clips alike within prompts: the best adjusted p is below .05 in 5 %."""
    made, n_sims, alarms, single = design(10, 10, 10, 10), 200, 0, 0
    for seed in range(n_sims):
        rng = np.random.default_rng([seed, 5])
        f = pseudo_f(prompt_grams(sites(made, rng, n_layers=8)), relabellings(made.labels, 99, rng))
        alarms += max_t(f).min() <= 0.05
        single += p_values(f).min() <= 0.05
    low, high = binom.ppf([0.0005, 0.9995], n_sims, 0.05)
    assert low <= alarms <= high
    assert single > high  # the best of eight, uncorrected


def test_a_planted_layer_is_found():
    made, found = design(16, 16, 16, 16), 0
    for seed in range(20):
        rng = np.random.default_rng([seed, 6])
        f = pseudo_f(
            prompt_grams(sites(made, rng, n_layers=8, share=0.08, layer=5)),
            relabellings(made.labels, 199, rng),
        )
        adjusted = max_t(f)
        found += adjusted.argmin() == 5 and adjusted[5] <= 0.05
    assert found >= 18
