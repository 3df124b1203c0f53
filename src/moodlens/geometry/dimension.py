"""How many dimensions a site uses, and its principal components: from the centred Gram matrix alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.geometry.fuzzy import fuzzy_graph
from moodlens.geometry.silhouette import squared_distances
from moodlens.stats.gram import centred

SPREAD, LEAST_GAP = 1.0, 0.1
"""umap-learn's default scale of the picture and least distance of points in it."""


@dataclass(frozen=True)
class Components:
    """Principal components of the points of one site."""

    coordinates: Float[np.ndarray, "point component"]  # the largest variance first
    shares: Float[np.ndarray, " component"]  # of the variance, all components that have any
    participation: float  # (sum of variances)^2 / sum of squared variances
    n_for_90: int  # components that hold 90 % of the variance


def components(gram: Float[np.ndarray, "point point"]) -> Components:
    """Return the principal components of the points and how many count.

    The participation ratio lies between 1 (one direction) and the number of components; with few points it
    cannot exceed their number less one, so it compares sites of one design and is no property of the model.
    Source: Gao et al. 2017, A theory of multineuronal dimensionality. The sign of each component is fixed:
    its largest coordinate is positive.
    """
    values, vectors = np.linalg.eigh(centred(gram))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > 1e-10 * values[0]
    values, vectors = values[kept], vectors[:, kept]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    shares = values / values.sum()
    n_for_90 = int(np.searchsorted(np.cumsum(shares), 0.9 - 1e-12) + 1)
    participation = float(values.sum() ** 2 / np.square(values).sum())
    return Components(vectors * signs * np.sqrt(values), shares, participation, n_for_90)


def umap_points(
    coordinates: Float[np.ndarray, "point component"], n_neighbors: int, seed: int
) -> Float[np.ndarray, "point 2"]:
    """Return a UMAP picture of the points: a picture, which licenses no claim.

    Distances, sizes and gaps between groups in it mean nothing (McInnes, Healy and Melville 2018, section 6;
    Chari and Pachter 2023). One thread and a fixed seed make it the same every time on one machine. The graph
    is `fuzzy_graph`'s, the layout umap-learn's, with the defaults of `umap.UMAP`.

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
