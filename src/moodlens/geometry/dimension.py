"""Principal components and effective dimension of a site, and its UMAP projection.

All are computed from the centred Gram matrix alone. The neighbour graph of UMAP is in plain numpy because
umap-learn's own takes seconds to compile. Each point's nearest neighbours get weights exp(-(d - rho) /
sigma), where rho is the distance to the nearest neighbour and sigma makes the weights sum to log2(k). Two
directed weights a, b become a + b - a b. Source: McInnes, Healy and Melville 2018, UMAP, algorithms 2 and 3;
umap-learn 0.5 `umap_.smooth_knn_dist`, `umap_.fuzzy_simplicial_set` (the same graph, checked in the tests).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_matrix, csr_matrix

from moodlens.stats.gram import centred, squared_distances

TOLERANCE = 1e-5
"""Tolerance of the sum of weights around log2(k)."""
LEAST_SCALE = 1e-3
"""Smallest sigma, as a share of the mean distance to the neighbours."""
N_HALVINGS = 64


def fuzzy_graph(distances: Float[np.ndarray, "point point"], n_neighbors: int) -> csr_matrix:
    """Return the symmetric weights between points, (point, point).

    Args:
        distances: between points, zero on the diagonal; used in float32, as in umap-learn.
        n_neighbors: size of a neighbourhood including the point itself; at least 2.
    """
    n = len(distances)
    near = distances.argsort(axis=1, kind="stable")[:, :n_neighbors]
    nearest = np.take_along_axis(distances, near, axis=1).astype(np.float32)
    away = np.where(nearest > 0, nearest, np.inf).min(axis=1)
    rho = np.where(np.isfinite(away), away, 0).astype(np.float32)
    beyond = np.maximum(nearest - rho[:, None], 0)
    sigma = _scales(beyond[:, 1:].astype(np.float64), float(np.log2(n_neighbors)))
    least = np.where(rho > 0, nearest.mean(axis=1), nearest.mean())
    sigma = np.maximum(sigma.astype(np.float32), LEAST_SCALE * least)
    weights = np.where(near == np.arange(n)[:, None], 0, np.exp(-beyond / sigma[:, None]))
    rows = np.repeat(np.arange(n), n_neighbors)
    directed = coo_matrix((weights.astype(np.float32).ravel(), (rows, near.ravel())), shape=(n, n)).tocsr()
    directed.eliminate_zeros()
    back = directed.T.tocsr()
    return csr_matrix(directed + back - directed.multiply(back))


def _scales(beyond: Float[np.ndarray, "point neighbor"], wanted: float) -> Float[np.ndarray, " point"]:
    """Return each point's sigma, found by bisection: sum of exp(-beyond / sigma) = wanted."""
    low, high = np.zeros(len(beyond)), np.full(len(beyond), np.inf)
    middle = np.ones(len(beyond))
    for _ in range(N_HALVINGS):
        total = np.exp(-beyond / middle[:, None]).sum(axis=1)
        far = np.abs(total - wanted) >= TOLERANCE
        if not far.any():
            break
        over = far & (total > wanted)
        under = far & (total <= wanted)
        high[over], low[under] = middle[over], middle[under]
        halved = (low + np.where(np.isfinite(high), high, 0)) / 2
        middle = np.where(far, np.where(np.isfinite(high), halved, 2 * middle), middle)
    return middle


SPREAD, LEAST_GAP = 1.0, 0.1
"""umap-learn's default scale of the projection and smallest distance between points in it."""


@dataclass(frozen=True)
class Components:
    """Principal components of the points of one site."""

    coordinates: Float[np.ndarray, "point component"]  # the largest variance first
    shares: Float[np.ndarray, " component"]  # of the variance, for all components with nonzero variance
    participation: float  # (sum of variances)^2 / sum of squared variances
    n_for_90: int  # components that hold 90 % of the variance


def components(gram: Float[np.ndarray, "point point"]) -> Components:
    """Return the principal components of the points, and two measures of their number.

    The participation ratio lies between 1 (one direction) and the number of components. It cannot exceed the
    number of points minus one, so with few points it compares sites of one design and is not a property of
    the model.
    Source: Gao et al. 2017, A theory of multineuronal dimensionality. The sign of each component is fixed:
    its largest coordinate is positive.
    """
    values, vectors = np.linalg.eigh(centred(gram))
    values, vectors = values[::-1], vectors[:, ::-1]
    nonzero = values > 1e-10 * values[0]
    values, vectors = values[nonzero], vectors[:, nonzero]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    shares = values / values.sum()
    n_for_90 = int(np.searchsorted(np.cumsum(shares), 0.9 - 1e-12) + 1)
    participation = float(values.sum() ** 2 / np.square(values).sum())
    return Components(vectors * signs * np.sqrt(values), shares, participation, n_for_90)


def umap_points(
    coordinates: Float[np.ndarray, "point component"], n_neighbors: int, seed: int
) -> Float[np.ndarray, "point 2"]:
    """Return a UMAP projection of the points, for display only; it supports no claim.

    Distances, sizes and gaps between groups in it have no meaning (McInnes, Healy and Melville 2018, section
    6; Chari and Pachter 2023). One thread and a fixed seed make it reproducible on one machine. The graph is
    from `fuzzy_graph`, the layout from umap-learn, with the defaults of `umap.UMAP`.

    Args:
        coordinates: isometric to the site, e.g. all of `components(...)`'s.
        n_neighbors: size of a neighbourhood; at most one less than the points.
        seed: of the layout.
    """
    import warnings

    points = np.asarray(coordinates, dtype=np.float32)
    distances = np.sqrt(squared_distances(coordinates @ coordinates.T))
    graph = fuzzy_graph(distances, min(n_neighbors, len(points) - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap.umap_ import find_ab_params, simplicial_set_embedding  # seconds: it compiles

        a, b = find_ab_params(SPREAD, LEAST_GAP)
        layout, _ = simplicial_set_embedding(
            points,
            graph,
            n_components=2,
            initial_alpha=1.0,
            a=a,
            b=b,
            gamma=1.0,
            negative_sample_rate=5,
            n_epochs=None,
            init="pca" if points.shape[1] > 1 else "random",
            random_state=np.random.RandomState(seed),
            metric="euclidean",
            metric_kwds={},
            densmap=False,
            densmap_kwds={},
            output_dens=False,
        )
    return np.asarray(layout, dtype=np.float64)
