"""UMAP's graph of neighbours in plain numpy: umap-learn's own compiles for seconds before it sees a point.

Each point's nearest neighbours get weights exp(-(d - rho) / sigma): rho is the distance to the nearest one,
sigma makes the weights sum to log2(k); two directed weights a, b become a + b - a b.

Source: McInnes, Healy and Melville 2018, UMAP, algorithms 2 and 3; umap-learn 0.5 `umap_.smooth_knn_dist`,
`umap_.fuzzy_simplicial_set` (the same graph, checked in the tests).
"""

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_matrix, csr_matrix

TOLERANCE = 1e-5
"""How near log2(k) the weights' sum must come."""
LEAST_SCALE = 1e-3
"""Smallest sigma, as a share of the mean distance to the neighbours."""
N_HALVINGS = 64


def fuzzy_graph(distances: Float[np.ndarray, "point point"], n_neighbors: int) -> csr_matrix:
    """Return the symmetric weights between points, (point, point).

    Args:
        distances: between points, zero on the diagonal; they are read in float32, as umap-learn does.
        n_neighbors: size of a neighbourhood, the point itself counted; at least 2.
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
    """Return each point's sigma by halving: sum of exp(-beyond / sigma) = wanted."""
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
