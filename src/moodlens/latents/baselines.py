"""Units and reconstructions that SAE latents are compared with, and unit means over the rows of each text.

Units that are no SAE latents are raw dimensions, PCA, ICA and k-means clusters. Each is fitted on rows
(row, d_in) and gives a map from rows to units at or above zero. A signed direction gives two units: its
positive and its negative half, relative to the mean of the fitted rows. Reconstructions with and without the
selective latents are inputs of probes. Means are taken in one pass, whose memory does not grow with the rows.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from moodlens.latents.matching import Activity, Shortage, matched

UnitMap = Callable[[np.ndarray], np.ndarray]
"""A function from rows (row, d_in) to unit activations (row, unit)."""

CHUNK_ROWS = 4096


def chunks_of(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
) -> Iterator[tuple[Float[np.ndarray, "row d_in"], Int[np.ndarray, " row"]]]:
    """Yield (values as float32, owners) of consecutive rows, block by block, at most CHUNK_ROWS at a time."""
    for values, owners in blocks:
        for start in range(0, len(values), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            yield values[part].astype(np.float32), owners[part]


def pooled_by_text(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]], unit_maps: Mapping[str, UnitMap], n_texts: int
) -> dict[str, Float[np.ndarray, "text unit"]]:
    """Return for each map the mean activation over the rows of each text, float64; zero without rows.

    Args:
        blocks: pairs of rows (row, d_in) and the index of each row's text (row,).
        unit_maps: maps by name; a name becomes a key of the result.
        n_texts: number of texts.
    """
    sums: dict[str, np.ndarray] = {}
    counts = np.zeros(n_texts)
    for values, texts in chunks_of(blocks):
        counts += np.bincount(texts, minlength=n_texts)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(texts)) + 1])
        for name, unit_map in unit_maps.items():
            units = unit_map(values)
            if name not in sums:
                sums[name] = np.zeros((n_texts, units.shape[1]))
            np.add.at(sums[name], texts[starts], np.add.reduceat(units, starts, axis=0, dtype=np.float64))
    return {name: total / np.maximum(counts, 1)[:, None] for name, total in sums.items()}


def with_firing(unit_map: UnitMap) -> UnitMap:
    """Return the map to the units, then to 1 where each fires: pooled, mean activation and firing rate.

    >>> with_firing(lambda x: x)(np.array([[0.0, 2.5]])).tolist()
    [[0.0, 2.5, 0.0, 1.0]]
    """

    def both(x: np.ndarray) -> np.ndarray:
        units = unit_map(x)
        return np.concatenate([units, units > 0], axis=1)

    return both


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
    mean, axes = rows.mean(axis=0), principal_axes(rows)
    return lambda x: halves((x - mean) @ axes)


def principal_axes(rows: Float[np.ndarray, "row d_in"]) -> Float[np.ndarray, "d_in axis"]:
    """Return the principal axes of the rows as columns, those of the least variance first."""
    return np.linalg.eigh(np.cov((rows - rows.mean(axis=0)).T))[1]


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


def reconstructions(
    latents: Float[np.ndarray, "prompt latent"],
    W_dec: Float[np.ndarray, "latent d_in"],
    b_dec: Float[np.ndarray, " d_in"],
    selective: Bool[np.ndarray, " latent"],
    activity: Activity,
    factor: float,
) -> tuple[dict[str, Float[np.ndarray, "prompt d_in"]], Shortage | None]:
    """Return `reconstruction` and, where the selective latents have a matched control, two ablated ones.

    `without_selective` sets the selective latents to zero. They were chosen with all labels, so its accuracy
    says something only beside that of `without_others`, which sets as many other latents of matched activity
    to zero. Without such a control neither is returned, and the shortage says why. Reconstruction is linear
    in the latents: the mean reconstruction of a prompt is the reconstruction of its mean latents.

    Args:
        latents: mean activation by prompt.
        W_dec, b_dec: of the SAE.
        selective: the latents to remove.
        activity: of all latents.
        factor: tolerance of the match.
    """
    results = {"reconstruction": latents @ W_dec + b_dec}
    if not selective.any():
        return results, None
    others = matched(activity, np.flatnonzero(selective), np.flatnonzero(~selective & activity.fires), factor)
    if isinstance(others, Shortage):
        return results, others
    results["without_selective"] = np.where(selective, 0, latents) @ W_dec + b_dec
    results["without_others"] = (
        np.where(np.isin(np.arange(len(selective)), others), 0, latents) @ W_dec + b_dec
    )
    return results, None
