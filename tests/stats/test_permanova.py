import numpy as np
import pytest
from skbio.stats.distance import DistanceMatrix
from skbio.stats.distance import permanova as reference

from moodlens.stats.gram import centred, prompt_grams
from moodlens.stats.permanova import pseudo_f, same_label_sums
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
