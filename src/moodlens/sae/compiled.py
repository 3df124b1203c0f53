"""Compiled loops for the sums of the sparse path, for float32 on a CPU (numba).

`kernel.py` defines what is computed. A compiled loop reads a row of a weight once for all sums that need it.
Compilation takes a few seconds and is cached on disk, so small batches stay with torch. Loops run on as many
threads as torch uses.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import float32, njit
from torch import Tensor


def split_over_threads(n: int, work: Callable[[int, int], None]) -> None:
    """Call `work(start, stop)` on consecutive parts of range(n), one part per torch thread.

    Args:
        n: length of the range.
        work: releases the global interpreter lock. Its result must not depend on where parts begin.
    """
    n_threads = min(torch.get_num_threads(), n)
    if n_threads <= 1:
        work(0, n)
        return
    edges = [n * part // n_threads for part in range(n_threads + 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


MIN_WORK = 1 << 28
"""Multiplications of a dense encoder product from which compiled loops are used."""
MIN_ENTRIES = 1 << 14
"""Entries of a sparse code from which they are sorted by a compiled counting sort."""
MIN_WEIGHTS = 1 << 18
"""Elements of a weight from which its projections are compiled."""
_FAST = {"cache": True, "nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}


def use_for_batch(x: Float[Tensor, "row d_in"], d_sae: int) -> bool:
    """Return whether compiled loops pay off for a batch: float32 on a CPU, large, no gradient for `x`."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad
    return plain and x.numel() * d_sae >= MIN_WORK


def use_for_weight(weight: Tensor) -> bool:
    """Return whether compiled loops pay off for a weight: float32 on a CPU, at least MIN_WEIGHTS elements."""
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= MIN_WEIGHTS


def use_for_sorting(latents: Int[Tensor, " entry"]) -> bool:
    """Return whether a compiled counting sort pays off: on a CPU, at least MIN_ENTRIES entries."""
    return latents.device.type == "cpu" and len(latents) >= MIN_ENTRIES


def sort_by_latent(
    latents: Int[Tensor, " entry"], d_sae: int
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " d_sae"], Int[Tensor, " d_sae"]]:
    """Return a stable order of the entries by latent, where each latent starts in it, and its entry count."""
    order, starts, counts = torch.empty_like(latents), latents.new_empty(d_sae), latents.new_zeros(d_sae)
    _sort_by_latent(latents.numpy(), order.numpy(), starts.numpy(), counts.numpy())
    return order, starts, counts


def residuals(
    centred: Float[Tensor, "row d_in"],
    W_dec: Float[Tensor, "d_sae d_in"],
    values: Float[Tensor, " entry"],
    latents: Int[Tensor, " entry"],
    row_starts: Int[Tensor, " row"],
) -> tuple[Float[Tensor, "row d_in"], Float[Tensor, " row"], Float[Tensor, " entry"]]:
    """Return the residual of each row, its squared length, and <residual, W_dec[latent]> of each entry.

    Args:
        centred: rows minus b_dec.
        W_dec: decoder.
        values: value of each entry, zero or above.
        latents: latent of each entry.
        row_starts: first entry of each row.

    The product of an entry is 0 where its value is 0.
    """
    residual, squares, products = (
        torch.empty_like(centred),
        centred.new_empty(len(centred)),
        torch.empty_like(values),
    )
    arrays = [t.numpy() for t in (centred, W_dec, values, latents, _closed(row_starts, len(values)))]
    out = [t.numpy() for t in (residual, squares, products)]
    split_over_threads(len(centred), lambda start, stop: _residuals(start, stop, *arrays, *out))
    return residual, squares, products


def weight_gradients(
    centred: Float[Tensor, "row d_in"],
    residual: Float[Tensor, "row d_in"],
    values: Float[Tensor, " entry"],
    products: Float[Tensor, " entry"],
    scale: float,
    rows: Int[Tensor, " entry"],
    order: Int[Tensor, " entry"],
    latent_starts: Int[Tensor, " d_sae"],
) -> tuple[Float[Tensor, "d_sae d_in"], Float[Tensor, "d_sae d_in"], Float[Tensor, " d_sae"]]:
    """Return the gradients of W_dec, W_enc' and b_enc.

    They are `scale` times the sum, over the entries of each latent, of value * residual[row],
    product * centred[row] and product.

    Args:
        centred: rows minus b_dec.
        residual: as `residuals` returns it.
        values: value of each entry.
        products: as `residuals` returns them.
        scale: factor of all three gradients.
        rows: row of each entry.
        order: entries sorted by latent.
        latent_starts: index in `order` of each latent's first entry.
    """
    shape = (len(latent_starts), centred.shape[1])
    d_dec, d_enc, d_bias = centred.new_empty(shape), centred.new_empty(shape), centred.new_empty(shape[0])
    starts = _closed(latent_starts, len(values))
    tensors = (centred, residual, values, products, rows, order, starts, d_dec, d_enc, d_bias)
    arrays = [t.numpy() for t in tensors]
    split_over_threads(
        shape[0], lambda start, stop: _weight_gradients(start, stop, np.float32(scale), *arrays)
    )
    return d_dec, d_enc, d_bias


def project_gradient(gradient: Float[Tensor, "d_sae d_in"], W_dec: Float[Tensor, "d_sae d_in"]) -> None:
    """Remove from every row of a gradient its component along the same row of W_dec, in place."""
    arrays = gradient.numpy(), W_dec.numpy()
    split_over_threads(len(W_dec), lambda start, stop: _project_gradient(start, stop, *arrays))


def normalize_rows(W_dec: Float[Tensor, "d_sae d_in"], smallest: float) -> None:
    """Divide every row by its length, or by `smallest` if it is shorter, in place."""
    array = W_dec.numpy()
    split_over_threads(len(W_dec), lambda start, stop: _normalize_rows(start, stop, array, float32(smallest)))


def _closed(starts: Tensor, n_entries: int) -> Tensor:
    """The starts of the bags, followed by the end of the last bag."""
    return torch.cat([starts, starts.new_tensor([n_entries])])


@njit(cache=True, nogil=True)
def _sort_by_latent(latents, order, starts, counts):  # pragma: no cover - compiled
    """Counting sort: every entry goes to the next free index of its latent."""
    for entry in range(latents.size):
        counts[latents[entry]] += 1
    first = 0
    for latent in range(counts.size):
        starts[latent] = first
        first += counts[latent]
    for entry in range(latents.size):
        latent = latents[entry]
        order[starts[latent]] = entry
        starts[latent] += 1
    for latent in range(counts.size):
        starts[latent] -= counts[latent]


@njit(**_FAST)
def _add_four(out, r, table, weights, picks, at, last):  # pragma: no cover - compiled
    """Add four weighted rows of a table to a row of `out`; entries after `last` get weight 0."""
    i1, i2, i3 = min(at + 1, last), min(at + 2, last), min(at + 3, last)
    a, b, c, d = picks[at], picks[i1], picks[i2], picks[i3]
    p = weights[at]
    q = weights[i1] if i1 == at + 1 else float32(0)
    s = weights[i2] if i2 == at + 2 else float32(0)
    t = weights[i3] if i3 == at + 3 else float32(0)
    for i in range(out.shape[1]):
        out[r, i] += p * table[a, i] + q * table[b, i] + s * table[c, i] + t * table[d, i]


@njit(**_FAST)
def _residuals(
    start, stop, centred, W_dec, values, latents, starts, residual, squares, products
):  # pragma: no cover - compiled
    d_in = centred.shape[1]
    for r in range(start, stop):
        first, last = starts[r], starts[r + 1]
        for i in range(d_in):
            residual[r, i] = float32(0)
        for at in range(first, last, 4):
            _add_four(residual, r, W_dec, values, latents, at, last - 1)
        square = float32(0)
        for i in range(d_in):
            left = centred[r, i] - residual[r, i]
            residual[r, i] = left
            square += left * left
        squares[r] = square
        for at in range(first, last, 4):
            i1, i2, i3 = min(at + 1, last - 1), min(at + 2, last - 1), min(at + 3, last - 1)
            a, b, c, d = latents[at], latents[i1], latents[i2], latents[i3]
            s, t, u, v = float32(0), float32(0), float32(0), float32(0)
            for i in range(d_in):
                x = residual[r, i]
                s += x * W_dec[a, i]
                t += x * W_dec[b, i]
                u += x * W_dec[c, i]
                v += x * W_dec[d, i]
            # repeated indices at the end of a row: the last write is that of the right product
            products[i3] = v if values[i3] > 0 else float32(0)
            products[i2] = u if values[i2] > 0 else float32(0)
            products[i1] = t if values[i1] > 0 else float32(0)
            products[at] = s if values[at] > 0 else float32(0)


@njit(**_FAST)
def _weight_gradients(
    start, stop, scale, centred, residual, values, products, rows, order, starts, d_dec, d_enc, d_bias
):  # pragma: no cover - compiled
    longest = 0
    for latent in range(start, stop):
        longest = max(longest, starts[latent + 1] - starts[latent])
    picks = np.empty(longest, np.int64)
    weights, slopes = np.empty(longest, np.float32), np.empty(longest, np.float32)
    for latent in range(start, stop):
        first, n = starts[latent], starts[latent + 1] - starts[latent]
        total = float32(0)
        for at in range(n):
            entry = order[first + at]
            picks[at], weights[at], slopes[at] = rows[entry], scale * values[entry], scale * products[entry]
            total += slopes[at]
        d_bias[latent] = total
        for i in range(centred.shape[1]):
            d_dec[latent, i] = float32(0)
            d_enc[latent, i] = float32(0)
        for at in range(0, n, 4):
            _add_four(d_dec, latent, residual, weights, picks, at, n - 1)
            _add_four(d_enc, latent, centred, slopes, picks, at, n - 1)


@njit(**_FAST)
def _project_gradient(start, stop, gradient, W_dec):  # pragma: no cover - compiled
    for latent in range(start, stop):
        slope, row = gradient[latent], W_dec[latent]
        along = float32(0)
        for i in range(row.size):
            along += slope[i] * row[i]
        for i in range(row.size):
            slope[i] -= along * row[i]


@njit(**_FAST)
def _normalize_rows(start, stop, W_dec, smallest):  # pragma: no cover - compiled
    for latent in range(start, stop):
        row = W_dec[latent]
        square = float32(0)
        for i in range(row.size):
            square += row[i] * row[i]
        inverse = float32(1) / max(np.sqrt(square), smallest)
        for i in range(row.size):
            row[i] *= inverse
