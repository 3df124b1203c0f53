"""How many dimensions a site uses, and its principal components: from the centred Gram matrix alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.stats.gram import centred


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
    Chari and Pachter 2023). One thread and a fixed seed make it the same every time on one machine.

    Args:
        coordinates: isometric to the site, e.g. all of `components(...)`'s.
        n_neighbors: size of a neighbourhood; at most one less than the points.
        seed: of the layout.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap  # 15 s: it compiles

        layout = umap.UMAP(
            n_neighbors=min(n_neighbors, len(coordinates) - 1),
            random_state=seed,
            n_jobs=1,
            init="pca" if coordinates.shape[1] > 1 else "random",
        )
        return np.asarray(layout.fit_transform(coordinates), dtype=np.float64)
