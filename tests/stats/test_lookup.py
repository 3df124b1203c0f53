"""Sums by looking up equal sums by hand and by multiplication, whatever the sizes."""

import numpy as np
import pytest

from moodlens.stats import permanova
from moodlens.stats.gram import centred
from moodlens.stats.permanova import pair_sums, pseudo_f
from moodlens.stats.permutation import relabellings


def test_pair_sums_by_hand():
    pairs = np.array([[[9.0, 1, 2], [1, 9, 4], [2, 4, 9]]])
    sums = pair_sums(pairs, np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 2]]))
    assert sums.tolist() == [[7.0, 2.0, 4.0, 0.0]]


@pytest.mark.parametrize("n", [2, 7, 8, 9, 15, 17, 24, 61])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_every_size_equals_the_direct_sum(n: int, n_classes: int):
    rng = np.random.default_rng([n, n_classes])
    values = rng.normal(size=(3, n, n))
    values += values.transpose(0, 2, 1)
    labels = rng.integers(n_classes, size=(40, n))
    same = np.triu(labels[:, :, None] == labels[:, None, :], 1)
    expected = np.einsum("pij,lij->lp", same, values)
    np.testing.assert_allclose(pair_sums(values, labels), expected, atol=1e-4)


def test_large_families_are_looked_up_and_agree_with_the_product(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(4, 40, 12))
    grams = centred(rows @ rows.transpose(0, 2, 1))
    table = relabellings(np.repeat(np.arange(4), 10), 300, rng)
    product = pseudo_f(grams, table)
    looked_up = []
    monkeypatch.setattr(permanova, "MIN_WORK", 1)
    monkeypatch.setattr(permanova, "pair_sums", lambda *args: looked_up.append(1) or pair_sums(*args))
    found = pseudo_f(grams, table)
    assert looked_up
    assert np.abs(found - product).max() < 1e-4 * product.std(axis=1).min()


def test_equal_labellings_get_equal_bits():
    """Ties with the observed labelling count in p, so that they must stay ties."""
    rng = np.random.default_rng(6)
    values = rng.normal(size=(5, 33, 33))
    table = relabellings(np.repeat(np.arange(3), 11), 50, rng)
    table[[17, 50]] = table[0]
    sums = pair_sums(values + values.transpose(0, 2, 1), table)
    assert (sums[:, [17, 50]] == sums[:, :1]).all()
