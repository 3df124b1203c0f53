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


def reconstructions(
    latents: Float[np.ndarray, "prompt latent"],
    W_dec: Float[np.ndarray, "latent d_in"],
    b_dec: Float[np.ndarray, " d_in"],
    selective: Bool[np.ndarray, " latent"],
) -> dict[str, Float[np.ndarray, "prompt d_in"]]:
    """Return `reconstruction` and, if some but not all latents are selective, two ablated ones.

    `without_selective` sets the selective latents to zero. Selective latents were chosen with all labels, so
    its accuracy has to be compared with `without_others`, which sets as many other latents of matched mean
    activation to zero. Reconstruction is linear in the latents: the mean reconstruction of a prompt is the
    reconstruction of its mean latents.
    """
    results = {"reconstruction": latents @ W_dec + b_dec}
    if selective.any() and not selective.all():
        others = matched_others(latents.mean(axis=0), selective)
        results["without_selective"] = np.where(selective, 0, latents) @ W_dec + b_dec
        results["without_others"] = np.where(others, 0, latents) @ W_dec + b_dec
    return results


def matched_others(
    activation: Float[np.ndarray, " latent"], selective: Bool[np.ndarray, " latent"]
) -> Bool[np.ndarray, " latent"]:
    """Return a mask of as many other latents, each the nearest in mean activation that is still free.

    The match is greedy, most active selective latent first.
    """
    free = list(np.flatnonzero(~selective))
    matched = np.zeros_like(selective)
    for latent in np.flatnonzero(selective)[np.argsort(-activation[selective], kind="stable")]:
        if not free:
            break
        nearest = min(free, key=lambda other: abs(activation[other] - activation[latent]))
        free.remove(nearest)
        matched[nearest] = True
    return matched
