"""Components and dimension: against scikit-learn, for spectra of known dimension, and the UMAP picture."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA

from moodlens.geometry.dimension import components, fuzzy_graph, umap_points


def test_components_equal_scikit_learns():
    rows = np.random.default_rng(0).normal(size=(30, 6)) * np.arange(1, 7) + 5
    found, theirs = components(rows @ rows.T), PCA().fit(rows)
    assert np.allclose(found.shares, theirs.explained_variance_ratio_)
    assert np.allclose(np.abs(found.coordinates), np.abs(theirs.transform(rows)))
    largest = np.abs(found.coordinates).argmax(axis=0)
    assert (found.coordinates[largest, np.arange(6)] > 0).all()


def test_participation_counts_equal_directions():
    line = np.outer(np.linspace(-1, 1, 9), np.ones(3))
    assert components(line @ line.T).participation == pytest.approx(1)
    cube = np.array([[i, j, k] for i in (-1.0, 1) for j in (-1.0, 1) for k in (-1.0, 1)])
    found = components(cube @ cube.T)
    assert found.participation == pytest.approx(3)
    assert found.n_for_90 == 3
    assert found.shares.tolist() == pytest.approx([1 / 3] * 3)


def test_coordinates_keep_every_distance():
    rows = np.random.default_rng(1).normal(size=(8, 20))
    points = components(rows @ rows.T).coordinates
    assert np.allclose(points @ points.T, (rows - rows.mean(0)) @ (rows - rows.mean(0)).T)


def test_umap_keeps_planted_groups_together_and_is_the_same_twice():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 15)
    rows = rng.normal(size=(30, 5)) + 20 * labels[:, None]
    first, second = (umap_points(rows, 8, seed=3) for _ in range(2))
    assert first.shape == (30, 2)
    assert np.array_equal(first, second)
    distances = np.sqrt(np.square(first[:, None] - first[None]).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()


def umap_graph(distances: np.ndarray, n_neighbors: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap.umap_ import fuzzy_simplicial_set

        random = np.random.RandomState(0)
        return fuzzy_simplicial_set(distances, n_neighbors, random, "precomputed")[0].toarray()


def test_the_graph_is_umap_learns():
    """Clusters of unequal spread; one point three times, so that a nearest neighbour lies at distance 0."""
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(40, 6)) * np.repeat([0.1, 1, 5, 20], 10)[:, None]
    rows[1:3] = rows[0]
    distances = np.sqrt(np.square(rows[:, None] - rows[None]).sum(axis=2))
    for n_neighbors in (2, 3, 15):
        theirs = umap_graph(distances, n_neighbors)
        np.testing.assert_allclose(fuzzy_graph(distances, n_neighbors).toarray(), theirs, atol=2e-5)
