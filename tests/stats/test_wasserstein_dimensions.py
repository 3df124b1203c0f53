"""Distances along random lines and shares of dimensions, against POT, scipy and loops."""

from itertools import combinations

import numpy as np
import ot
import pytest
from scipy.stats import wasserstein_distance

from moodlens.base.errors import ContractError
from moodlens.stats.alignment import differing_share
from moodlens.stats.pairwise import sliced_wasserstein
from moodlens.stats.permutation import relabellings


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


@pytest.mark.parametrize("sizes", [(6, 6, 6), (3, 8, 5)])
def test_the_share_of_dimensions_equals_a_loop_over_pairs(sizes):
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), sizes)
    rows = rng.normal(size=(len(labels), 40)) * 7 + 100
    table = relabellings(labels, 5, rng)
    found = differing_share([rows, np.hstack([rows, np.full((len(rows), 1), 3.0)])], table, 0.3)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    for perm in range(6):
        means = np.stack([scaled[table[perm] == k].mean(axis=0) for k in range(3)])
        pairs = list(combinations(range(3), 2))
        shares = [(np.abs(means[k] - means[m]) > 0.3).mean() for k, m in pairs]
        expected = np.average(shares, weights=[sizes[k] * sizes[m] for k, m in pairs])
        assert found[:, perm] == pytest.approx([expected, expected], abs=1e-6)


def test_by_chance_alone_most_dimensions_pass_the_seeds_threshold():
    """Two groups of 16: class means differ by sqrt(2 / 16) = .35 on average, so |N(0, .35)| > .1 in 78 %."""
    rng = np.random.default_rng(4)
    share = differing_share([rng.normal(size=(32, 4000))], np.repeat([0, 1], 16)[None], 0.1).item()
    assert share == pytest.approx(0.78, abs=0.02)


def test_a_site_of_constants_is_refused():
    with pytest.raises(ContractError, match="a dimension that varies"):
        differing_share([np.ones((4, 3))], np.array([[0, 0, 1, 1]]), 0.1)
