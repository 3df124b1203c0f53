"""Means of unit activations over the rows of each text, in one pass whose memory does not grow with rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int

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
