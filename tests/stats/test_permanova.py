"""PERMANOVA, its sums by lookup, and PERMDISP: independent implementations and nominal rates."""

import numpy as np
import pytest
from skbio.stats.distance import DistanceMatrix
from skbio.stats.distance import permanova as reference
from skbio.stats.distance import permdisp as permdisp_reference

from moodlens.stats import permanova
from moodlens.stats.gram import centred, prompt_grams
from moodlens.stats.permanova import dispersion_f, pair_sums, pseudo_f, same_label_sums
from moodlens.stats.permutation import p_values, relabellings
from tests.stats.synthetic import design, sites


@pytest.mark.parametrize("sizes", [(6, 6, 6), (3, 9, 5, 7)])
def test_f_of_every_layer_equals_scikit_bio(sizes):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = rng.normal(size=(5, len(labels), 12)) + labels[:, None] * 0.2
    grams = centred(rows @ rows.transpose(0, 2, 1))
    f = pseudo_f(grams, relabellings(labels, 3, rng))
    for layer in range(5):
        distances = np.sqrt(((rows[layer][:, None] - rows[layer][None]) ** 2).sum(axis=2))
        expected = reference(DistanceMatrix(distances), labels.astype(str), permutations=0)["test statistic"]
        assert f[layer, 0] == pytest.approx(expected, rel=1e-5)


def test_all_layers_and_relabellings_at_once_equal_one_by_one():
    rng = np.random.default_rng(2)
    made = design(4, 6, 5)
    grams = prompt_grams(sites(made, rng, n_layers=3))
    table = relabellings(made.labels, 40, rng)
    whole = pseudo_f(grams, table)
    for perm in (0, 7, 40):
        for layer in range(3):
            one = pseudo_f(grams[layer : layer + 1], table[perm : perm + 1])
            assert whole[layer, perm] == pytest.approx(one.item(), rel=1e-6)


def test_pair_sums_by_hand():
    pairs = np.array([[[0.0, 1, 2], [1, 0, 4], [2, 4, 0]]])
    sums = same_label_sums(
        pairs, np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]]), np.array([[1.0, 1], [0.5, 9], [1, 1]])
    )
    assert sums.tolist() == [[7.0, 1.0, 4.0]]


def test_f_does_not_see_scale_or_the_common_mean():
    rng = np.random.default_rng(3)
    made = design(5, 5)
    rows = rng.normal(size=(10, 6))
    table = relabellings(made.labels, 20, rng)
    base = pseudo_f(centred(rows @ rows.T)[None], table)
    moved = 7 * rows + 100
    np.testing.assert_allclose(pseudo_f(centred(moved @ moved.T)[None], table), base, rtol=1e-4)


def test_permuting_clips_instead_of_prompts_cries_wolf():
    """With no effect and clips alike within a prompt, the textbook unit of replication is wrong."""
    made = design(8, 8)
    naive, valid = [], []
    for seed in range(60):
        rng = np.random.default_rng([seed, 4])
        (site,) = sites(made, rng, n_clips=5, icc=0.3)
        clips = relabellings(made.labels[site.prompts], 99, rng)
        naive.append(p_values(pseudo_f(centred(site.values)[None], clips))[0] <= 0.05)
        prompts = relabellings(made.labels, 99, rng)
        valid.append(p_values(pseudo_f(prompt_grams([site]), prompts))[0] <= 0.05)
    assert np.mean(naive) > 0.6
    assert np.mean(valid) < 0.2


@pytest.mark.parametrize("equal", [True, False])
def test_pair_sums_over_several_blocks_of_pairs_and_relabellings(equal):
    """110 prompts make 5,995 pairs, 300 relabellings: more than one block of each."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(2, 110, 110))
    values += values.transpose(0, 2, 1)
    table = relabellings(np.repeat([0, 1], [55, 55] if equal else [40, 70]), 299, rng)
    weights = np.tile([0.5, 0.5] if equal else [0.5, 2.0], (300, 1))
    same = (table[:, :, None] == table[:, None, :]) * weights[0][table][:, :, None]
    expected = np.einsum("pij,lij->lp", np.triu(same, 1), values)
    np.testing.assert_allclose(same_label_sums(values, table, weights), expected, atol=2e-3)


def test_looked_up_pair_sums_by_hand():
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


def test_f_equals_scikit_bio_for_equal_groups():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 8)
    rows = rng.normal(size=(24, 6)) * np.array([1.0, 1.5, 2.0])[labels][:, None] + labels[:, None]
    distances = DistanceMatrix(np.sqrt(((rows[:, None] - rows) ** 2).sum(axis=2)))
    expected = permdisp_reference(
        distances, labels.astype(str), test="centroid", permutations=0, warn_neg_eigval=False
    )
    table = relabellings(labels, 3, rng)
    assert dispersion_f((rows @ rows.T)[None], table)[0, 0] == pytest.approx(
        expected["test statistic"], rel=1e-3
    )


def test_unequal_groups_by_hand():
    """Distances to the centroid 1, 1 widened by sqrt 2; 3, 0, 3 (mean 2) widened by sqrt 1.5."""
    rows = np.array([[-1.0], [1.0], [-3.0], [0.0], [3.0]])
    a, b = np.sqrt(2) * np.ones(2), np.sqrt(1.5) * np.array([3.0, 0.0, 3.0])
    grand = np.concatenate([a, b]).mean()
    between = 2 * (a.mean() - grand) ** 2 + 3 * (b.mean() - grand) ** 2
    expected = between / (((b - b.mean()) ** 2).sum() / 3)
    found = dispersion_f((rows @ rows.T)[None], np.array([[0, 0, 1, 1, 1]]))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_all_relabellings_equal_the_residuals_relabelled_one_by_one():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [5, 9])
    rows = rng.normal(size=(14, 4)) + 3 * labels[:, None]
    table = relabellings(labels, 4, rng)
    found = dispersion_f((rows @ rows.T)[None], table)[0]
    residuals = rows - np.stack([rows[labels == k].mean(axis=0) for k in (0, 1)])[labels]
    for perm in range(5):
        distances = np.empty(14)
        for klass in (0, 1):
            own = table[perm] == klass
            spread = np.linalg.norm(residuals[own] - residuals[own].mean(axis=0), axis=1)
            distances[own] = spread * np.sqrt(own.sum() / (own.sum() - 1))
        groups = [distances[table[perm] == k] for k in (0, 1)]
        between = sum(len(g) * (g.mean() - distances.mean()) ** 2 for g in groups)
        within = sum(((g - g.mean()) ** 2).sum() for g in groups) / 12
        assert found[perm] == pytest.approx(between / within, rel=1e-3)


def test_means_that_differ_are_no_difference_of_spread_and_a_wider_emotion_is():
    rng, labels = np.random.default_rng(2), np.repeat([0, 1, 2], 14)
    moved, wide = 0, 0
    for _ in range(40):
        rows = rng.normal(size=(42, 8))
        table = relabellings(labels, 99, rng)
        shifted = rows + 5 * labels[:, None]
        wider = rows * np.array([1.0, 1.0, 1.8])[labels][:, None]
        moved += p_values(dispersion_f((shifted @ shifted.T)[None], table))[0] <= 0.05
        wide += p_values(dispersion_f((wider @ wider.T)[None], table))[0] <= 0.05
    assert moved <= 8
    assert wide >= 36
