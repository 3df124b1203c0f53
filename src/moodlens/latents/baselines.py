"""Units that are no SAE latents, for comparison: raw dimensions, PCA, ICA and k-means clusters.

Each function fits on rows (row, d_in) and returns a map from rows to units at or above zero. A signed
direction gives two units: its positive and its negative half, relative to the mean of the fitted rows.
"""

import warnings

import numpy as np
from jaxtyping import Float
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from moodlens.latents.pooling import UnitMap

ICA_ITERATIONS = 100


def halves(signed: Float[np.ndarray, "row direction"]) -> Float[np.ndarray, "row unit"]:
    """Return the positive half of every direction, then the negative half of every direction.

    >>> halves(np.array([[2.0, -3.0]])).tolist()
    [[2.0, 0.0, 0.0, 3.0]]
    """
    return np.concatenate([np.maximum(signed, 0), np.maximum(-signed, 0)], axis=1)


def dimensions(rows: Float[np.ndarray, "row d_in"]) -> UnitMap:
    """Return the map to raw dimensions: 2 d_in units."""
    mean = rows.mean(axis=0)
    return lambda x: halves(x - mean)


def components(rows: Float[np.ndarray, "row d_in"]) -> UnitMap:
    """Return the map to all principal components: 2 d_in units."""
    mean = rows.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((rows - mean).T))
    return lambda x: halves((x - mean) @ axes)


def independent_components(rows: Float[np.ndarray, "row d_in"], n_components: int, seed: int) -> UnitMap:
    """Return the map to FastICA components: 2 n_components units. Convergence is not required."""
    ica = FastICA(n_components, whiten="unit-variance", max_iter=ICA_ITERATIONS, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica.fit(rows)
    return lambda x: halves(ica.transform(x))


def clusters(rows: Float[np.ndarray, "row d_in"], n_clusters: int, seed: int) -> UnitMap:
    """Return the map to k-means clusters: one unit per cluster, 1 for the nearest centre and 0 elsewhere."""
    kmeans = MiniBatchKMeans(n_clusters, batch_size=2048, max_iter=10, random_state=seed)
    kmeans.fit(rows)

    def one_hot(x: np.ndarray) -> np.ndarray:
        units = np.zeros((len(x), n_clusters), dtype=np.float32)
        units[np.arange(len(x)), kmeans.predict(x.astype(rows.dtype))] = 1
        return units

    return one_hot
