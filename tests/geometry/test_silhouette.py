"""Silhouettes against scikit-learn, their null at its nominal rate, distances from a Gram matrix."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import binom
from sklearn.metrics import silhouette_score

from moodlens.geometry.family import silhouettes
from moodlens.stats.gram import squared_distances
from moodlens.stats.permutation import p_values, relabellings
from tests.stats.synthetic import design


def test_distances_are_those_of_the_rows_wherever_their_mean_lies():
    rows = np.random.default_rng(0).normal(size=(9, 4)) + 3
    assert np.allclose(squared_distances(rows @ rows.T), squareform(pdist(rows, "sqeuclidean")))


@pytest.mark.parametrize("sizes", [(5, 5, 5), (2, 9, 4), (1, 6)])
def test_silhouettes_equal_scikit_learns_under_every_labelling(sizes: tuple[int, ...]):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = rng.normal(size=(len(labels), 5)) + labels[:, None]
    distances = squareform(pdist(rows))
    table = relabellings(labels, 30, rng)
    theirs = [silhouette_score(distances, row, metric="precomputed") for row in table]
    assert np.allclose(silhouettes(distances, table), theirs)


def test_the_null_holds_its_level_and_planted_groups_are_found():
    rng = np.random.default_rng(2)
    labels, n_runs = design(5, 7, 6).labels, 400

    def p_of(rows: np.ndarray) -> float:
        return float(p_values(silhouettes(squareform(pdist(rows)), relabellings(labels, 99, rng))))

    rejected = sum(p_of(rng.normal(size=(18, 6))) <= 0.05 for _ in range(n_runs))
    assert binom.ppf(0.005, n_runs, 0.05) <= rejected <= binom.ppf(0.995, n_runs, 0.05)
    assert p_of(rng.normal(size=(18, 6)) + 2 * np.eye(3, 6)[labels]) == pytest.approx(0.01)
