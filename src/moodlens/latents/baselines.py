"""Units that are no SAE latents: what the same counts say of dimensions, components, clusters.

Every reader turns rows into units at or above zero. A signed direction gives two units, its positive and its
negative half, about the mean of the rows it was fitted on.

Do the same latents come back when only the seed changes?
"""

import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

Reader = Callable[[np.ndarray], np.ndarray]
"""(row, d_in) -> (row, unit), zero or above."""

ICA_ITERATIONS = 100


def halves(signed: Float[np.ndarray, "row direction"]) -> Float[np.ndarray, "row unit"]:
    """Return the positive and the negative half of each direction, side by side.

    >>> halves(np.array([[2.0, -3.0]])).tolist()
    [[2.0, 0.0, 0.0, 3.0]]
    """
    return np.concatenate([np.maximum(signed, 0), np.maximum(-signed, 0)], axis=1)


def dimensions(rows: Float[np.ndarray, "row d_in"]) -> Reader:
    """Return the reader of raw dimensions: 2 d_in units."""
    mean = rows.mean(axis=0)
    return lambda x: halves(x - mean)


def components(rows: Float[np.ndarray, "row d_in"]) -> Reader:
    """Return the reader of principal components, all of them: 2 d_in units."""
    mean = rows.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((rows - mean).T))
    return lambda x: halves((x - mean) @ axes)


def independent_components(rows: Float[np.ndarray, "row d_in"], n_components: int, seed: int) -> Reader:
    """Return the reader of FastICA's components: 2 n_components units, converged or not."""
    ica = FastICA(n_components, whiten="unit-variance", max_iter=ICA_ITERATIONS, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica.fit(rows)
    return lambda x: halves(ica.transform(x))


def clusters(rows: Float[np.ndarray, "row d_in"], n_clusters: int, seed: int) -> Reader:
    """Return the reader of k-means: one unit per cluster, 1 for the nearest centre."""
    kmeans = MiniBatchKMeans(n_clusters, batch_size=2048, max_iter=10, random_state=seed)
    kmeans.fit(rows)

    def read(x: np.ndarray) -> np.ndarray:
        units = np.zeros((len(x), n_clusters), dtype=np.float32)
        units[np.arange(len(x)), kmeans.predict(x.astype(rows.dtype))] = 1
        return units

    return read


THRESHOLDS = (0.7, 0.9)
"""Decoder cosines above which two latents count as the same."""


def matched_cosines(
    one: Float[np.ndarray, "latent d_in"], other: Float[np.ndarray, "other_latent d_in"]
) -> Float[np.ndarray, " latent"]:
    """Return each latent's decoder cosine with its partner in another SAE, one partner each (Hungarian).

    With fewer partners than latents the rest get -1.

    Source: Paulo and Belrose 2025, arXiv 2501.16615, who match SAEs of several seeds this way.

    >>> matched_cosines(np.eye(2), np.eye(2)[::-1]).tolist()
    [1.0, 1.0]
    """
    cosines = unit_rows(one) @ unit_rows(other).T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    found = np.full(len(one), -1.0)
    found[rows] = cosines[rows, columns]
    return found


def unit_rows(rows: Float[np.ndarray, "row d_in"]) -> Float[np.ndarray, "row d_in"]:
    """Return the rows at length 1; zero rows stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def random_decoder(n: int, d_in: int, rng: np.random.Generator) -> Float[np.ndarray, "latent d_in"]:
    """Return directions drawn uniformly from the sphere: what chance makes of matching."""
    return unit_rows(rng.standard_normal((n, d_in)))


def most_used(firing: np.ndarray, n: int) -> np.ndarray:
    """Return the indices, ascending, of the `n` latents that fire most; never one that does not fire."""
    order = np.argsort(-firing, kind="stable")[:n]
    return np.sort(order[firing[order] > 0])
