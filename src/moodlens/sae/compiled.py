"""The sums of the sparse path as compiled loops: a row of a weight is read once for all that is asked of it.

`kernel.py` says what is computed; this is how on a CPU in float32. Compilation takes seconds once and is
cached on disk, so small batches stay with torch.

Compiled work on torch's number of threads: shares of a range, one each.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import float32, njit
from torch import Tensor


def in_shares(n: int, work: Callable[[int, int], None]) -> None:
    """Call `work(start, stop)` on consecutive shares of range(n), as many at a time as torch has threads.

    Args:
        work: releases the lock that Python threads share; its result must not depend on where shares begin.
    """
    n_threads = min(torch.get_num_threads(), n)
    if n_threads <= 1:
        work(0, n)
        return
    edges = [n * share // n_threads for share in range(n_threads + 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


MIN_WORK = 1 << 28
"""Multiplications of a dense encoder product from which compiled loops are taken."""
MIN_ENTRIES = 1 << 14
"""Entries of a sparse code from which they are sorted by counting, compiled."""
MIN_WEIGHTS = 1 << 18
"""Numbers of a weight from which its projections are."""
_FAST = {"cache": True, "nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}


def pays(x: Float[Tensor, "row d_in"], d_sae: int) -> bool:
    """Return whether to take compiled loops for a batch: float32 on a CPU, large, no gradient for `x`."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad
    return plain and x.numel() * d_sae >= MIN_WORK


def suits(weight: Tensor) -> bool:
    """Return whether to take compiled loops for a weight: float32 on a CPU, MIN_WEIGHTS numbers or more."""
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= MIN_WEIGHTS


def sorting_pays(latents: Int[Tensor, " entry"]) -> bool:
    """Return whether to sort entries by counting: on a CPU, MIN_ENTRIES or more."""
    return latents.device.type == "cpu" and len(latents) >= MIN_ENTRIES


def by_latent(
    latents: Int[Tensor, " entry"], d_sae: int
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " d_sae"], Int[Tensor, " d_sae"]]:
    """Return the entries in order of their latent, each latent's first place there, and its entries.

    Entries of one latent ascend.
    """
    order, starts, counts = torch.empty_like(latents), latents.new_empty(d_sae), latents.new_zeros(d_sae)
    _by_latent(latents.numpy(), order.numpy(), starts.numpy(), counts.numpy())
    return order, starts, counts


def explain(
    centred: Float[Tensor, "row d_in"],
    W_dec: Float[Tensor, "d_sae d_in"],
    values: Float[Tensor, " entry"],
    latents: Int[Tensor, " entry"],
    row_starts: Int[Tensor, " row"],
) -> tuple[Float[Tensor, "row d_in"], Float[Tensor, " row"], Float[Tensor, " entry"]]:
    """Return what is left of each row, its squared length, <residual, W_dec[latent]> per entry.

    The last is 0 where the value is 0.
    """
    residual, squares, along = (
        torch.empty_like(centred),
        centred.new_empty(len(centred)),
        torch.empty_like(values),
    )
    arrays = [t.numpy() for t in (centred, W_dec, values, latents, _closed(row_starts, len(values)))]
    out = [t.numpy() for t in (residual, squares, along)]
    in_shares(len(centred), lambda start, stop: _explain(start, stop, *arrays, *out))
    return residual, squares, along


def weight_gradients(
    centred: Float[Tensor, "row d_in"],
    residual: Float[Tensor, "row d_in"],
    values: Float[Tensor, " entry"],
    along: Float[Tensor, " entry"],
    scale: float,
    rows: Int[Tensor, " entry"],
    order: Int[Tensor, " entry"],
    latent_starts: Int[Tensor, " d_sae"],
) -> tuple[Float[Tensor, "d_sae d_in"], Float[Tensor, "d_sae d_in"], Float[Tensor, " d_sae"]]:
    """Return the sums over the entries of each latent of values residual[row], along centred[row] and along.

    Args:
        along: as `explain` gives it.
        scale: of all three.
        order: entries in order of their latent.
        latent_starts: first place in `order` of each latent.
    """
    shape = (len(latent_starts), centred.shape[1])
    d_dec, d_enc, d_bias = centred.new_empty(shape), centred.new_empty(shape), centred.new_empty(shape[0])
    starts = _closed(latent_starts, len(values))
    given = (centred, residual, values, along, rows, order, starts, d_dec, d_enc, d_bias)
    arrays = [t.numpy() for t in given]
    in_shares(shape[0], lambda start, stop: _weight_gradients(start, stop, np.float32(scale), *arrays))
    return d_dec, d_enc, d_bias


def project_gradient(gradient: Float[Tensor, "d_sae d_in"], W_dec: Float[Tensor, "d_sae d_in"]) -> None:
    """Take from every row of a gradient its part along the row of W_dec, in place."""
    arrays = gradient.numpy(), W_dec.numpy()
    in_shares(len(W_dec), lambda start, stop: _take_along(start, stop, *arrays))


def unit_rows(W_dec: Float[Tensor, "d_sae d_in"], smallest: float) -> None:
    """Divide every row by its length, or by `smallest` if it is shorter, in place."""
    array = W_dec.numpy()
    in_shares(len(W_dec), lambda start, stop: _unit_rows(start, stop, array, float32(smallest)))


def _closed(starts: Tensor, n_entries: int) -> Tensor:
    """Starts of bags, and the end of the last."""
    return torch.cat([starts, starts.new_tensor([n_entries])])


@njit(cache=True, nogil=True)
def _by_latent(latents, order, starts, counts):  # pragma: no cover - compiled
    """Sort by counting: every entry goes to its latent's next place."""
    for entry in range(latents.size):
        counts[latents[entry]] += 1
    place = 0
    for latent in range(counts.size):
        starts[latent] = place
        place += counts[latent]
    for entry in range(latents.size):
        latent = latents[entry]
        order[starts[latent]] = entry
        starts[latent] += 1
    for latent in range(counts.size):
        starts[latent] -= counts[latent]


@njit(**_FAST)
def _add_four(out, r, table, weights, picks, at, last):  # pragma: no cover - compiled
    """Add four weighted rows of a table to a row of `out`; places after the last weigh nothing."""
    i1, i2, i3 = min(at + 1, last), min(at + 2, last), min(at + 3, last)
    a, b, c, d = picks[at], picks[i1], picks[i2], picks[i3]
    p = weights[at]
    q = weights[i1] if i1 == at + 1 else float32(0)
    s = weights[i2] if i2 == at + 2 else float32(0)
    t = weights[i3] if i3 == at + 3 else float32(0)
    for i in range(out.shape[1]):
        out[r, i] += p * table[a, i] + q * table[b, i] + s * table[c, i] + t * table[d, i]


@njit(**_FAST)
def _explain(
    start, stop, centred, W_dec, values, latents, starts, residual, squares, along
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
            # the last place is written last by the product that is its own
            along[i3] = v if values[i3] > 0 else float32(0)
            along[i2] = u if values[i2] > 0 else float32(0)
            along[i1] = t if values[i1] > 0 else float32(0)
            along[at] = s if values[at] > 0 else float32(0)


@njit(**_FAST)
def _weight_gradients(
    start, stop, scale, centred, residual, values, along, rows, order, starts, d_dec, d_enc, d_bias
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
            picks[at], weights[at], slopes[at] = rows[entry], scale * values[entry], scale * along[entry]
            total += slopes[at]
        d_bias[latent] = total
        for i in range(centred.shape[1]):
            d_dec[latent, i] = float32(0)
            d_enc[latent, i] = float32(0)
        for at in range(0, n, 4):
            _add_four(d_dec, latent, residual, weights, picks, at, n - 1)
            _add_four(d_enc, latent, centred, slopes, picks, at, n - 1)


@njit(**_FAST)
def _take_along(start, stop, gradient, W_dec):  # pragma: no cover - compiled
    for latent in range(start, stop):
        slope, row = gradient[latent], W_dec[latent]
        along = float32(0)
        for i in range(row.size):
            along += slope[i] * row[i]
        for i in range(row.size):
            slope[i] -= along * row[i]


@njit(**_FAST)
def _unit_rows(start, stop, W_dec, smallest):  # pragma: no cover - compiled
    for latent in range(start, stop):
        row = W_dec[latent]
        square = float32(0)
        for i in range(row.size):
            square += row[i] * row[i]
        inverse = float32(1) / max(np.sqrt(square), smallest)
        for i in range(row.size):
            row[i] *= inverse
