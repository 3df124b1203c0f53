"""Debiased CKA and CCA with the labels, and the share of dimensions that differ."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from moodlens.base.errors import ContractError
from moodlens.stats.alignment import differing_share, label_cca, label_cka
from moodlens.stats.gram import centred
from moodlens.stats.permutation import relabellings

SIZES = [(7, 7, 7), (4, 10, 6)]


def example(sizes, seed=0, width=12):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = rng.normal(size=(len(labels), width)) + 0.4 * rng.normal(size=(len(sizes), width))[labels]
    return rows - rows.mean(axis=0), labels


def biased_cka(rows, labels):
    inner, outer = centred(rows @ rows.T), centred((labels[:, None] == labels).astype(float))
    return (inner * outer).sum() / np.linalg.norm(inner) / np.linalg.norm(outer)


def u_centred(kernel):
    """Szekely and Rizzo 2014: the U-centred matrix, whose inner product is HSIC_1 up to n (n - 3)."""
    n = len(kernel)
    hollow = kernel * (1 - np.eye(n))
    rows = hollow.sum(axis=1)
    found = hollow - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0)
    return found


@pytest.mark.parametrize("sizes", SIZES)
def test_cka_is_the_cosine_of_u_centred_kernels(sizes):
    rows, labels = example(sizes)
    table = relabellings(labels, 5, np.random.default_rng(0))
    found = label_cka((rows @ rows.T)[None], table)[0]
    inner = u_centred(rows @ rows.T)
    for perm in range(6):
        outer = u_centred((table[perm][:, None] == table[perm]).astype(float))
        expected = (inner * outer).sum() / np.linalg.norm(inner) / np.linalg.norm(outer)
        assert found[perm] == pytest.approx(expected, abs=1e-6)


def test_cka_of_independent_data_is_near_zero_where_the_biased_one_is_not():
    rng, found, biased = np.random.default_rng(1), [], []
    labels = np.repeat(np.arange(20), 4)  # many small groups: the case in which the bias is large
    for _ in range(20):
        rows = rng.normal(size=(80, 1024))
        found.append(label_cka((rows @ rows.T)[None], labels[None]).item())
        biased.append(biased_cka(rows, labels))
    assert abs(np.mean(found)) < 0.01
    assert np.mean(biased) > 0.4


@pytest.mark.parametrize("sizes", SIZES)
def test_cca_is_scikit_learns_after_the_same_reduction(sizes):
    rows, labels = example(sizes, 2)
    axes = np.linalg.svd(rows, full_matrices=False)[0][:, :5]
    onehot = np.eye(3)[labels][:, :2]
    model = CCA(n_components=2, scale=False, tol=1e-12, max_iter=10_000).fit(axes, onehot)
    x, y = model.transform(axes, onehot)
    expected = np.mean([np.corrcoef(x[:, i], y[:, i])[0, 1] ** 2 for i in range(2)])
    assert label_cca((rows @ rows.T)[None], labels[None], 5).item() == pytest.approx(expected, rel=1e-4)


def test_cca_of_noise_is_rank_over_units_and_one_without_reduction():
    rng, labels = np.random.default_rng(3), np.repeat([0, 1, 2, 3], 15)
    rows = rng.normal(size=(60, 200))
    gram = centred(rows @ rows.T)[None]
    null = label_cca(gram, relabellings(labels, 500, rng), 6)[0, 1:]
    assert null.mean() == pytest.approx(6 / 59, abs=0.01)
    basis = np.linalg.svd(rows - rows.mean(axis=0))[0][:, :59]
    whole = np.linalg.norm(basis.T @ np.linalg.qr(centred_labels(labels))[0]) ** 2 / 3
    assert whole == pytest.approx(1)


def centred_labels(labels):
    onehot = np.eye(4)[labels][:, :3]
    return onehot - onehot.mean(axis=0)


def test_cca_rank_cka_size_are_refused_in_one_line():
    rows, labels = example((6, 6), width=3)
    gram = (rows @ rows.T)[None]
    with pytest.raises(ContractError, match=r"at most a third of the 12 units .*Lower signal.cca_rank to 4"):
        label_cca(gram, labels[None], 5)
    with pytest.raises(ContractError, match=r"not exceed the 3 dimensions .* to 3"):
        label_cca(gram, labels[None], 4)
    with pytest.raises(ContractError, match="at least 4 units; got 3"):
        label_cka(gram[:, :3, :3], np.array([[0, 0, 1]]))


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
