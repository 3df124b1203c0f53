"""Checked and shuffled batches of rows from a stream of arrays; memory does not grow with the stream.

A source is a function that starts a new pass over the arrays of one split: shards, or one array. Rows are
shuffled in a buffer of fixed size: it is filled, half of it is drawn at random, and it is filled again. Rows
of one clip are thus spread over batches. The result is a function of the stream and the seed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from moodlens.base.errors import ContractError, UsageError, must
from moodlens.base.seeding import rng_for

RowSource = Callable[[], Iterable[np.ndarray]]
"""Starts a pass: yields float arrays (row, d_in) of any lengths, the same ones on every call."""


@dataclass(frozen=True)
class Survey:
    """Facts of the training rows, from one pass over them."""

    n_rows: int
    d_in: int
    mean_norm: float  # mean L2 norm of a row
    sample: Float[Tensor, "row d_in"]  # rows drawn uniformly without replacement
    digest: str  # hash of every byte, to recognise a checkpoint of other rows


def checked(arrays: Iterable[np.ndarray], d_in: int | None = None) -> Iterator[np.ndarray]:
    """Yield the arrays after checking each.

    Args:
        arrays: (row, d_in) each.
        d_in: required width; None for the width of the first array.

    Raises:
        ContractError: an array is not (row, d_in), or a row contains NaN or infinity.
    """
    first = 0
    for array in arrays:
        d_in = array.shape[-1] if d_in is None else d_in
        if array.ndim != 2 or array.shape[1] != d_in:
            advice = "Use rows of one hookpoint of one model"
            raise ContractError(
                must("rows of an SAE", f"have shape (row, {d_in})", array.shape, next_step=advice)
            )
        finite = np.isfinite(array).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite))
            advice = "Run the check stage on this dataset and remake the shard"
            raise ContractError(
                must(f"row {row} of an SAE's rows", "be finite", "NaN or infinity", next_step=advice)
            )
        first += len(array)
        yield array


def survey(source: RowSource, n_sample: int, seed: int) -> Survey:
    """Return the facts of one pass. Each row draws a random key; rows with the smallest keys are the sample.

    Raises:
        ContractError: as `checked`, or there are fewer rows than d_in.
    """
    rng = rng_for("sae survey", seed)
    digest = blake2b(digest_size=16)
    keys, sample = np.empty(0), np.empty((0, 0), np.float32)
    n_rows, norms, d_in = 0, 0.0, 0
    for array in checked(source()):
        d_in = array.shape[1]
        digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(str(array.dtype).encode())
        rows = array.astype(np.float32)
        norms += float(np.linalg.norm(rows, axis=1).sum(dtype=np.float64))
        n_rows += len(rows)
        keys = np.concatenate([keys, rng.random(len(rows))])
        sample = np.concatenate([sample.reshape(-1, d_in), rows])
        smallest = np.sort(np.argsort(keys, kind="stable")[:n_sample])
        keys, sample = keys[smallest], sample[smallest]
    if n_rows < max(d_in, 1):
        rule = f"be at least as many as d_in = {d_in}"
        advice = "Use tokens or steps in place of pooled rows, or add prompts"
        raise ContractError(must("training rows of an SAE", rule, n_rows, next_step=advice))
    return Survey(n_rows, d_in, norms / n_rows, torch.from_numpy(sample), digest.hexdigest())


def mixed(
    arrays: Iterable[np.ndarray], batch_rows: int, buffer_rows: int, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "row d_in"]]:
    """Yield float32 batches in shuffled order; every row once, all batches full except the last.

    Args:
        arrays: (row, d_in) each, of any lengths; at most one is held besides the buffer.
        batch_rows: rows per batch.
        buffer_rows: rows of the shuffle buffer; the shuffle is complete if the stream fits into it.
        rng: draws the order.

    Raises:
        UsageError: the buffer holds fewer than two batches.
    """
    if not 1 <= batch_rows <= buffer_rows // 2:
        advice = "Raise buffer_rows or lower batch_rows"
        raise UsageError(
            must("buffer_rows", f"hold two batches of {batch_rows} rows", buffer_rows, next_step=advice)
        )
    buffer: np.ndarray | None = None
    filled = 0
    for array in arrays:
        if buffer is None:
            buffer = np.empty(
                (buffer_rows, array.shape[1]), array.dtype
            )  # memory pages are allocated as it fills
        start = 0
        while start < len(array):
            take = min(buffer_rows - filled, len(array) - start)
            buffer[filled : filled + take] = array[start : start + take]
            filled, start = filled + take, start + take
            if filled == buffer_rows:
                n_drawn = (buffer_rows // 2) // batch_rows * batch_rows
                order = rng.permutation(filled)
                yield from _cut(buffer, order[:n_drawn], batch_rows)
                filled -= n_drawn
                buffer[:filled] = buffer[order[n_drawn:]]
    if buffer is not None and filled:
        yield from _cut(buffer, rng.permutation(filled), batch_rows)


def batches(source: RowSource, d_in: int, batch_rows: int) -> Iterator[Float[Tensor, "row d_in"]]:
    """Yield the rows of a pass in order, as float32 tensors of at most `batch_rows`; errors as `checked`."""
    for array in checked(source(), d_in):
        for start in range(0, len(array), batch_rows):
            yield torch.from_numpy(array[start : start + batch_rows].astype(np.float32))


def _cut(buffer: np.ndarray, order: np.ndarray, batch_rows: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), batch_rows):
        yield buffer[order[start : start + batch_rows]].astype(np.float32)
