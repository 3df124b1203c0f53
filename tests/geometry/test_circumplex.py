"""The circumplex: correlations against scipy and rsatoolbox, distances without bias, a planted map found."""

from itertools import permutations

import numpy as np
import pytest
import rsatoolbox
from scipy.spatial.distance import pdist, squareform
from scipy.stats import binom, pearsonr, spearmanr

from moodlens.geometry.circumplex import (
    affect_distances,
    emotion_distances,
    emotion_map,
    rank_correlations,
    smallest_emotion_p,
)
from moodlens.prompts.lexicon import AFFECT
from moodlens.stats.bootstrap import resamples
from moodlens.stats.gram import centred, squared_distances
from moodlens.stats.permutation import p_values, relabellings
from tests.stats.synthetic import EMOTIONS, design

CENTRES = np.array([AFFECT[emotion] for emotion in EMOTIONS])
EXPECTED = affect_distances(CENTRES)
NEAR = ((0, 3), (1, 2))  # happy and energetic, sad and calm


def gram_of(rows: np.ndarray) -> np.ndarray:
    return centred(rows @ rows.T)


def test_the_predicted_pairs_are_the_nearest_of_the_lexicon():
    rows, columns = np.triu_indices(4, 1)
    order = np.argsort(EXPECTED[rows, columns])
    assert (rows[order[0]], columns[order[0]]) == NEAR[0]
    assert EXPECTED[NEAR[1]] < EXPECTED[rows, columns].mean()


def test_rank_correlations_equal_scipys_under_every_labelling():
    rng = np.random.default_rng(0)
    labels = design(4, 6, 5, 3).labels
    rows = rng.normal(size=(18, 7))
    table = relabellings(labels, 20, rng)
    found = rank_correlations(squared_distances(rows @ rows.T), EXPECTED, table)
    theirs = [spearmanr(pdist(rows), squareform(EXPECTED[row][:, row])).statistic for row in table]
    assert np.allclose(found, theirs)


def test_rank_correlation_equals_rsatoolboxs():
    rng = np.random.default_rng(1)
    labels = design(5, 5, 5, 5).labels
    rows = rng.normal(size=(20, 6)) + CENTRES[labels] @ rng.normal(size=(2, 6))
    measured = rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(rows), method="euclidean")
    model = rsatoolbox.rdm.RDMs(squareform(EXPECTED[labels][:, labels])[None])
    theirs = rsatoolbox.rdm.compare(measured, model, method="spearman")[0, 0]
    found = rank_correlations(squared_distances(rows @ rows.T), EXPECTED, labels[None])[0]
    assert found == pytest.approx(theirs, abs=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # its own, of NaN
def test_distances_equal_rsatoolboxs_crossvalidated_ones():
    """Over two halves with one point each, crossnobis with identity noise is the mean over pairs."""
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], 2)
    rows = rng.normal(size=(6, 5))
    data = rsatoolbox.data.Dataset(rows, obs_descriptors={"emotion": labels, "fold": np.tile([0, 1], 3)})
    theirs = rsatoolbox.rdm.calc_rdm(data, "crossnobis", descriptor="emotion", cv_descriptor="fold")
    found = emotion_distances(rows @ rows.T, labels, np.ones((1, 6), dtype=int))[0]
    # rsatoolbox pairs points across halves only, and divides by the dimension.
    for (i, j), value in zip(((0, 1), (0, 2), (1, 2)), theirs.dissimilarities[0] * 5, strict=True):
        own = rows[2 * i] @ rows[2 * i + 1] + rows[2 * j] @ rows[2 * j + 1]
        across = rows[2 * i] @ rows[2 * j + 1] + rows[2 * i + 1] @ rows[2 * j]
        assert value == pytest.approx(own - across)
        within_halves = rows[2 * i] @ rows[2 * j] + rows[2 * i + 1] @ rows[2 * j + 1]
        assert found[i, j] == pytest.approx(own - (across + within_halves) / 2)


def test_distances_of_means_carry_no_noise():
    rng = np.random.default_rng(3)
    labels = design(3, 3).labels
    means = np.array([[0.0] * 40, [0.5] * 40])[labels]
    once = np.ones((1, 6), dtype=int)
    found, naive = [], []
    for _ in range(400):
        rows = rng.normal(size=(6, 40)) + means
        found.append(emotion_distances(rows @ rows.T, labels, once)[0, 0, 1])
        naive.append(np.square(rows[:3].mean(axis=0) - rows[3:].mean(axis=0)).sum())
    assert np.mean(found) == pytest.approx(10, abs=1)
    assert np.mean(naive) == pytest.approx(10 + 40 * 2 / 3, abs=2)


def test_a_point_drawn_twice_is_never_paired_with_itself():
    rows = np.random.default_rng(4).normal(size=(5, 3))
    labels = np.array([0, 0, 0, 1, 1])
    counts = np.array([[2, 0, 1, 1, 1], [3, 0, 0, 1, 1]])
    found = emotion_distances(rows @ rows.T, labels, counts)
    own, other = rows[0] @ rows[2], rows[3] @ rows[4]
    means = (2 * rows[0] + rows[2]) / 3 @ (rows[3] + rows[4]) / 2
    assert found[0, 0, 1] == pytest.approx(own + other - 2 * means)
    assert np.isnan(found[1, 0, 1])


def planted(rng: np.random.Generator, means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made = design(8, 8, 8, 8)
    rows = rng.normal(size=(32, 12)) + (means @ rng.normal(size=(means.shape[1], 12)))[made.labels]
    return gram_of(rows), made.labels, resamples(made, "prompt", 400, rng)


def test_a_circumplex_is_found():
    gram, labels, counts = planted(np.random.default_rng(5), 3 * CENTRES)
    found = emotion_map(gram, labels, EXPECTED, counts, 0.95, NEAR)
    assert found is not None
    assert found.r is not None
    assert found.low is not None
    assert found.low > 0.5
    assert found.p == pytest.approx(smallest_emotion_p(4))
    assert all(near.low > 0 for near in found.near.values())
    assert found.distances[np.triu_indices(4, 1)].mean() == pytest.approx(1)


def test_emotions_equally_far_apart_are_no_circumplex():
    """Prompts of one emotion are alike and no pair of emotions is nearer: the interval holds 0."""
    made, n_runs, missed = design(10, 10, 10, 10), 60, 0
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(40, 12)) + 3 * np.eye(4, 12)[made.labels]
        counts = resamples(made, "prompt", 200, rng)
        found = emotion_map(gram_of(rows), made.labels, EXPECTED, counts, 0.95, NEAR)
        assert found is not None
        missed += found.near[0, 3].low > 0 or found.near[0, 3].high < 0
    assert missed <= binom.ppf(0.995, n_runs, 0.05)


def test_no_map_where_emotions_are_not_apart():
    gram, labels, counts = planted(np.random.default_rng(6), 0 * CENTRES)
    assert emotion_map(gram, labels, EXPECTED, counts, 0.95, NEAR) is None


def test_p_over_emotions_counts_every_renaming():
    gram, labels, counts = planted(np.random.default_rng(7), np.random.default_rng(8).normal(size=(4, 3)))
    found = emotion_map(gram, labels, EXPECTED, counts, 0.95, ())
    assert found is not None
    above = np.triu_indices(4, 1)
    named = [EXPECTED[list(order)][:, list(order)][above] for order in permutations(range(4))]
    r = [pearsonr(found.distances[above], row).statistic for row in named]
    assert found.r == pytest.approx(r[0])
    assert found.p == pytest.approx(np.mean([value >= r[0] - 1e-9 for value in r]))


def test_two_emotions_have_a_distance_and_no_circumplex():
    made = design(6, 6)
    rows = np.random.default_rng(9).normal(size=(12, 4)) + 3 * made.labels[:, None]
    counts = resamples(made, "prompt", 100, np.random.default_rng(0))
    found = emotion_map(gram_of(rows), made.labels, EXPECTED[:2, :2], counts, 0.95, ())
    assert found is not None
    assert found.r is found.p is None
    assert found.distances[0, 1] == pytest.approx(1)


def test_false_positives_of_the_rank_correlation():
    rng = np.random.default_rng(10)
    labels, n_runs = design(4, 4, 5, 3).labels, 400
    rejected = 0
    for _ in range(n_runs):
        rows = rng.normal(size=(16, 5))
        null = rank_correlations(squared_distances(rows @ rows.T), EXPECTED, relabellings(labels, 99, rng))
        rejected += p_values(null) <= 0.05
    assert binom.ppf(0.005, n_runs, 0.05) <= rejected <= binom.ppf(0.995, n_runs, 0.05)
