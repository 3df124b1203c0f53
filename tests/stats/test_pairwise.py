"""Sums over pairs against explicit loops, scikit-learn, dcor, hyppo and hand-worked values."""

from itertools import combinations

import numpy as np
import ot
import pytest
from hyppo.ksample import MMD
from scipy.stats import wasserstein_distance
from sklearn.metrics.pairwise import rbf_kernel

from moodlens.stats.bootstrap import unit_resamples
from moodlens.stats.pairwise import (
    contrast,
    contrast_draws,
    discrepancy,
    discrepancy_draws,
    near,
    rbf_kernels,
    sliced_wasserstein,
)
from moodlens.stats.permutation import relabellings

SIZES = [(6, 6, 6), (3, 9, 5)]


def example(sizes, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=(len(labels), 5)) + 0.5 * labels[:, None], labels


def looped_discrepancy(similar, rows, labels):
    """The mean over pairs of emotions, weighted n_k n_l, of unbiased within + within - 2 between."""
    total = weights = 0.0
    for k, m in combinations(range(labels.max() + 1), 2):
        x, y = rows[labels == k], rows[labels == m]
        inside = [np.mean([similar(a, b) for a, b in combinations(part, 2)]) for part in (x, y)]
        across = np.mean([similar(a, b) for a in x for b in y])
        total += len(x) * len(y) * (sum(inside) - 2 * across)
        weights += len(x) * len(y)
    return total / weights


@pytest.mark.parametrize("sizes", SIZES)
def test_discrepancies_equal_explicit_loops(sizes):
    rows, labels = example(sizes)
    gram = (rows @ rows.T)[None]
    assert discrepancy(near(gram), labels[None]).item() == pytest.approx(
        looped_discrepancy(lambda a, b: -np.linalg.norm(a - b), rows, labels), rel=1e-5
    )
    assert discrepancy(gram, labels[None]).item() == pytest.approx(
        looped_discrepancy(lambda a, b: a @ b, rows, labels), rel=1e-4
    )


def test_the_rbf_kernel_is_scikit_learns_at_the_median_bandwidth():
    rows, _ = example((4, 7))
    distances = [np.linalg.norm(a - b) for a, b in combinations(rows, 2)]
    expected = rbf_kernel(rows, gamma=1 / (2 * np.median(distances) ** 2))
    np.testing.assert_allclose(rbf_kernels((rows @ rows.T)[None])[0], expected, atol=1e-9)


def test_the_energy_distance_is_dcors():
    import dcor  # compiles for seconds where it is imported: in one worker, not in all while they collect

    rows, labels = example((8, 11))
    x, y = rows[labels == 0], rows[labels == 1]
    expected = dcor.energy_distance(x, y, estimation_stat="u_statistic")
    assert discrepancy(near((rows @ rows.T)[None]), labels[None]).item() == pytest.approx(expected, rel=1e-5)


def test_the_mmd_is_hyppos_up_to_scale_and_shift():
    """hyppo's is the unbiased kernel correlation with the labels: linear in MMD^2 over relabellings."""
    rows, labels = example((9, 9))
    gamma = 0.1
    table = relabellings(labels, 12, np.random.default_rng(3))
    found = discrepancy(rbf_kernel(rows, gamma=gamma)[None], table)[0]
    test = MMD(compute_kernel="rbf", bias=False, gamma=gamma)
    theirs = np.array([test.statistic(rows[row == 0], rows[row == 1]) for row in table])
    slope, shift = np.polyfit(found, theirs, 1)
    assert slope > 0
    np.testing.assert_allclose(slope * found + shift, theirs, atol=1e-6)
    assert np.array_equal(found.argsort(), theirs.argsort())


@pytest.mark.parametrize("sizes", SIZES)
def test_contrast_weighs_all_pairs_alike_and_relabels_at_once_as_one_by_one(sizes):
    rows, labels = example(sizes, 1)
    pairs = np.stack([rows @ rows.T, np.exp(rows @ rows.T / 9)])
    table = relabellings(labels, 20, np.random.default_rng(0))
    for statistic in (contrast, discrepancy):
        whole = statistic(pairs, table)
        for perm in (0, 13):
            one = np.concatenate([statistic(pairs[i : i + 1], table[perm : perm + 1])[:, 0] for i in (0, 1)])
            np.testing.assert_allclose(whole[:, perm], one, rtol=1e-4, atol=1e-6)
    upper = np.triu_indices(len(labels), 1)
    same = labels[upper[0]] == labels[upper[1]]
    values = pairs[1][upper]
    expected = values[same].mean() - values[~same].mean()
    assert contrast(pairs, table)[1, 0] == pytest.approx(expected, rel=1e-5)


def test_the_diagonal_is_never_read():
    rows, labels = example((5, 5))
    pairs = (rows @ rows.T)[None]
    other = pairs + 99 * np.eye(10)
    counts = unit_resamples(labels, 5, np.random.default_rng(0))
    for statistic in (contrast, discrepancy):
        assert statistic(pairs, labels[None]) == pytest.approx(statistic(other, labels[None]), rel=1e-4)
    for draws in (contrast_draws, discrepancy_draws):
        np.testing.assert_allclose(draws(pairs, labels, counts), draws(other, labels, counts))


def test_one_of_each_unit_gives_the_estimate_and_copies_are_never_paired():
    rows, labels = example((4, 6))
    pairs = (rows @ rows.T)[None]
    once = np.ones((1, 10), dtype=int)
    for statistic, draws in ((contrast, contrast_draws), (discrepancy, discrepancy_draws)):
        assert draws(pairs, labels, once)[0, 0] == pytest.approx(
            statistic(pairs, labels[None]).item(), rel=1e-5
        )
    # Emotion 0 is drawn as units 0, 0, 1, 1; emotion 1 as unit 4 thrice and each of 5, 6, 7 once.
    counts = np.array([[2, 2, 0, 0, 3, 1, 1, 1, 0, 0]])
    drawn = np.repeat(np.arange(10), counts[0])
    values = {
        (a, b): pairs[0, drawn[a], drawn[b]] for a, b in combinations(range(10), 2) if drawn[a] != drawn[b]
    }
    kinds = {pair: labels[drawn[pair[0]]] == labels[drawn[pair[1]]] for pair in values}
    expected = np.mean([v for p, v in values.items() if kinds[p]]) - np.mean(
        [v for p, v in values.items() if not kinds[p]]
    )
    assert contrast_draws(pairs, labels, counts)[0, 0] == pytest.approx(expected)


def test_the_interval_of_a_real_effect_covers_it():
    """Energy distance of N(0, I) and N(1.5 e_1, I), 20 units each, against that of 4,000."""
    rng, shift = np.random.default_rng(2), np.array([1.5, 0, 0])
    one, two = rng.normal(size=(4000, 3)), rng.normal(size=(4000, 3)) + shift
    across, inside = (
        np.linalg.norm(one - two, axis=1).mean(),
        np.linalg.norm(one[1:] - one[:-1], axis=1).mean(),
    )
    labels, covered = np.repeat([0, 1], 20), 0
    for _ in range(150):
        rows = rng.normal(size=(40, 3)) + np.outer(labels, shift)
        draws = discrepancy_draws(near((rows @ rows.T)[None]), labels, unit_resamples(labels, 300, rng))
        low, high = np.quantile(draws[0], [0.05, 0.95])
        covered += low <= 2 * (across - inside) <= high
    assert 120 <= covered <= 147


@pytest.mark.parametrize("sizes", [(6, 6, 6), (3, 8, 5)])
def test_along_one_line_it_is_scipys_mean_over_pairs_of_emotions(sizes):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), sizes)
    line = rng.normal(size=len(labels)) + labels
    table = relabellings(labels, 6, rng)
    found = sliced_wasserstein(np.outer(line, line)[None], table, 1, rng)[0]
    pairs = list(combinations(range(3), 2))
    weights = [sizes[k] * sizes[m] for k, m in pairs]
    for perm in range(7):
        each = [wasserstein_distance(line[table[perm] == k], line[table[perm] == m]) for k, m in pairs]
        assert found[perm] == pytest.approx(np.average(each, weights=weights), rel=1e-5)


def test_many_lines_come_near_pot():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 20)
    rows = rng.normal(size=(40, 5)) + labels[:, None]
    found = sliced_wasserstein((rows @ rows.T)[None], labels[None], 4000, rng).item()
    expected = ot.sliced_wasserstein_distance(rows[:20], rows[20:], n_projections=4000, p=1, seed=0)
    assert found == pytest.approx(expected, rel=0.03)


def test_rotation_and_padding_with_nothing_change_nothing_but_the_lines():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 15)
    rows = rng.normal(size=(30, 4)) + labels[:, None]
    turned = np.hstack([rows, np.zeros((30, 3))]) @ np.linalg.qr(rng.normal(size=(7, 7)))[0]
    values = [sliced_wasserstein((x @ x.T)[None], labels[None], 3000, rng).item() for x in (rows, turned)]
    assert values[0] == pytest.approx(values[1], rel=0.03)
