"""W_d*: against sums over pairs of distances, Welch's test of scipy, and its level where F loses its own."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import binom

from moodlens.stats.gram import centred
from moodlens.stats.location import Choice, choices, location_statistics, size_ratio
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings
from moodlens.stats.welch import w_d_star

MPG = {
    3: [21.4, 18.7, 18.1, 14.3, 16.4, 17.3, 15.2, 10.4, 10.4, 14.7, 21.5, 15.5, 15.2, 13.3, 19.2],
    4: [21.0, 21.0, 22.8, 24.4, 22.8, 19.2, 17.8, 32.4, 30.4, 33.9, 27.3, 21.4],
    5: [26.0, 30.4, 15.8, 19.7, 15.0],
}
"""Miles per gallon by number of gears, Henderson and Velleman 1981 (R's mtcars)."""


def by_pairs(rows: np.ndarray, labels: np.ndarray) -> float:
    """The definition of Hamidi et al., sums over pairs of distances written out."""
    n_classes = int(labels.max()) + 1
    sizes = [int((labels == k).sum()) for k in range(n_classes)]
    sums = np.zeros((n_classes, n_classes))
    for i, j in combinations(range(len(rows)), 2):
        k, m = sorted((labels[i], labels[j]))
        sums[k, m] += sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True))
    variance = [sums[k, k] / sizes[k] / (sizes[k] - 1) for k in range(n_classes)]
    weight = [sizes[k] / variance[k] for k in range(n_classes)]
    total = 0.0
    for k, m in combinations(range(n_classes), 2):
        both = sizes[k] + sizes[m]
        whole = (sums[k, k] + sums[m, m] + sums[k, m]) / both
        between = whole - sums[k, k] / sizes[k] - sums[m, m] / sizes[m]
        total += both / (variance[k] * variance[m]) * between
    h = sum((1 - w / sum(weight)) ** 2 / (n - 1) for w, n in zip(weight, sizes, strict=True))
    scale = 1 + 2 * (n_classes - 2) / (n_classes**2 - 1) * h
    return total / sum(weight) / (n_classes - 1) / scale


@pytest.mark.parametrize("sizes", [(5, 9), (4, 4, 4), (3, 8, 5, 6)])
def test_it_is_the_definition_under_every_labelling(sizes):
    rng = np.random.default_rng(len(sizes))
    rows = rng.standard_normal((sum(sizes), 7)) * rng.uniform(0.5, 2, 7) + 3
    table = relabellings(np.repeat(np.arange(len(sizes)), sizes), 6, rng)
    found = w_d_star(np.stack([rows @ rows.T, centred(rows @ rows.T)]), table)
    expected = [by_pairs(rows, labels) for labels in table]
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-9)


def test_in_one_dimension_it_is_welchs_analysis_of_variance():
    rows = np.concatenate([np.array(values) for values in MPG.values()])[:, None]
    labels = np.repeat([0, 1, 2], [len(values) for values in MPG.values()])
    found = w_d_star((rows @ rows.T)[None], labels[None])[0, 0]
    welch = scipy_stats.f_oneway(*MPG.values(), equal_var=False)
    assert found == pytest.approx(welch.statistic)
    assert found == pytest.approx(11.285, abs=5e-4)  # oneway.test(mpg ~ gear, mtcars) of R


def test_many_relabellings_are_evaluated_in_blocks_without_a_seam(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((12, 4))
    table = relabellings(np.repeat([0, 1, 2], 4), 40, rng)
    whole = w_d_star((rows @ rows.T)[None], table)
    monkeypatch.setattr("moodlens.stats.welch.BUFFER", 12 * 3 * 7)
    np.testing.assert_allclose(w_d_star((rows @ rows.T)[None], table), whole)


def spread_apart(rng: np.random.Generator, sizes: tuple[int, ...], scales: tuple[float, ...]) -> np.ndarray:
    rows = np.concatenate([s * rng.standard_normal((n, 8)) for n, s in zip(sizes, scales, strict=True)])
    return centred(rows @ rows.T)


@pytest.mark.parametrize(("sizes", "scales"), [((8, 24), (2.0, 1.0)), ((8, 16, 24), (2.5, 1.0, 1.0))])
def test_where_the_small_group_spreads_f_is_too_liberal_and_w_d_star_is_not(sizes, scales):
    labels, n_sims = np.repeat(np.arange(len(sizes)), sizes), 300
    plain, robust = 0, 0
    for seed in range(n_sims):
        rng = np.random.default_rng([seed, 61])
        gram = spread_apart(rng, sizes, scales)
        table = relabellings(labels, 99, rng)
        plain += p_values(pseudo_f(gram[None], table))[0] <= 0.05
        robust += p_values(w_d_star(gram[None], table))[0] <= 0.05
    assert plain / n_sims > 0.25
    assert robust <= binom.ppf(0.999, n_sims, 0.07)


def test_the_design_and_the_spread_choose_the_statistic_the_effect_does_not():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], 12)
    even = rng.standard_normal((36, 6))
    shifted = even + 4 * labels[:, None]
    wide = even * np.array([1.0, 1.0, 3.0])[labels][:, None]
    grams = np.stack([centred(rows @ rows.T) for rows in (even, shifted, wide)])
    table = relabellings(labels, 499, rng)
    found = choices(grams, table)
    assert [choice.statistic for choice in found] == ["pseudo_f", "pseudo_f", "w_d_star"]
    assert found[2].p_dispersion < 0.05 < found[0].p_dispersion
    values = location_statistics(grams, table, [choice.statistic for choice in found])
    np.testing.assert_allclose(values[:2], pseudo_f(grams[:2], table))
    np.testing.assert_allclose(values[2:], w_d_star(grams[2:], table))


def test_groups_that_differ_by_more_than_half_take_w_d_star_whatever_their_spread():
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((25, 6))
    gram = centred(rows @ rows.T)[None]
    for sizes, expected in (((10, 15), "pseudo_f"), ((9, 16), "w_d_star")):
        labels = np.repeat([0, 1], sizes)
        assert size_ratio(labels) == max(sizes) / min(sizes)
        (found,) = choices(gram, relabellings(labels, 199, rng))
        assert found == Choice(expected, found.p_dispersion)
        assert found.p_dispersion > 0.05
