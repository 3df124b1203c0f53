"""The k largest pre-activations of every row, found in eight bits and settled exactly.

A product of 8-bit integers is several times faster than one of 32-bit floats on processors with VNNI, and
wrong by an amount that is known. With x = s q + e (q whole numbers up to 127) and likewise w = s' q' + e',

    |<x, w> - s s' <q, q'>|  <=  |e| |w| + |s q| |e'|          (Cauchy and Schwarz)

so every pre-activation lies in an interval. Three passes over a row:

1. the k-th largest lower end (of group maxima: a bound below it) sorts out whoever's upper end is lower;
2. those whose whole interval is above are computed in float32, and their k-th largest sorts out more;
3. the rest are computed in float32. Where the k-th and the next are nearer than float32 can tell apart,
   float64 decides, and on a tie the lower latent.

Nothing is left to luck: a row with wide intervals has more candidates, never a wrong answer. The latents are
the k largest of the pre-activations of these weights and rows in exact arithmetic (to float64).
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import float32, njit
from torch import Tensor

from moodlens.sae.compiled import in_shares

CHUNK_PRODUCTS = 256 * 6144
"""8-bit products that exist at one time, 6.3 MB."""
MIN_WORK = 1 << 28
"""Multiplications of a batch from which screening pays for its compilation (a few seconds, then cached)."""
MIN_SPREAD = 16
"""Latents per active one below which a product in float32 and a sort are as fast."""
MIN_WIDTH = 2
"""torch 2.13's `_int_mm` is wrong on rows of a single number."""
LEVELS = 127
UNIT = 2.0**-24
"""Unit roundoff of float32."""
BLOCK = 64
COARSE, FINE = 10, 16
"""Halvings of a range in search of its k-th largest: for a bound, for the choice."""

_FAST = {"cache": True, "nogil": True, "fastmath": {"reassoc", "contract", "nsz", "nnan"}}


@cache
def has_vnni() -> bool:
    """Return whether the processor says that it multiplies 8-bit integers (AVX-512 VNNI)."""
    return bool(torch.cpu.get_capabilities().get("avx512_vnni", False))


def pays(x: Float[Tensor, "row d_in"], d_sae: int, k: int) -> bool:
    """Return whether to screen a batch: float32 on a processor with VNNI, large and sparse enough."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    plain = plain and x.shape[1] >= MIN_WIDTH
    large = x.numel() * d_sae >= MIN_WORK and d_sae >= MIN_SPREAD * k
    return plain and large and has_vnni()


@torch.no_grad()
def screened_top_k(
    x: Float[Tensor, "row d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    k: int,
) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"], Int[Tensor, " row"]] | None:
    """Return values, latents (in no order) and the number of latents of each row that were computed exactly.

    Args:
        x: rows, b_dec already taken off; float32, contiguous.
        W_enc: fastest when its transpose is contiguous.

    Returns None where a row or a weight is not finite.
    """
    if not torch.isfinite(x.sum() + W_enc.sum() + b_enc.sum()):
        return None
    weights, biases = W_enc.t().contiguous().numpy(), b_enc.contiguous().numpy()
    rows, (d_sae, d_in) = x.numpy(), weights.shape
    side, top = _Quantized(rows), _Quantized(weights)
    slack = np.float32(8 * UNIT * np.abs(biases).max())
    doubt = np.float32((d_in + 4) * UNIT)
    doubts = side.norms * (doubt * top.norms.max()) + slack / 2
    errors = side.errors + 8 * UNIT * side.norms
    lengths = side.norms + side.errors
    n_groups = min(d_sae, -(-12 * k // BLOCK) * BLOCK)
    values = torch.empty(len(x), k)
    latents = torch.empty(len(x), k, dtype=torch.int64)
    n_exact = torch.empty(len(x), dtype=torch.int64)
    n_chunk = min(len(x), max(1, CHUNK_PRODUCTS // d_sae))
    products = torch.empty(n_chunk, d_sae, dtype=torch.int32)
    table = torch.from_numpy(top.whole).t()
    for first in range(0, len(x), n_chunk):
        last = min(first + n_chunk, len(x))
        part = products[: last - first]
        torch.ops.aten._int_mm.out(torch.from_numpy(side.whole[first:last]), table, out=part)

        def settle(start: int, stop: int, first: int = first, part: Tensor = part) -> None:
            here = slice(first + start, first + stop)
            _settle(
                part[start:stop].numpy(), rows[here], weights, biases, slack, side.steps[here], errors[here],
                lengths[here], doubts[here], top.steps, top.norms, top.errors, n_groups,
                values[here].numpy(), latents[here].numpy(), n_exact[here].numpy(),
            )  # fmt: skip

        in_shares(last - first, settle)
    return values, latents, n_exact


class _Quantized:
    """Rows as whole numbers times a step of each row, with the length of each row and of what is lost."""

    def __init__(self, rows: np.ndarray) -> None:
        n, d = rows.shape
        self.whole = np.empty((n, d), np.int8)
        self.steps, self.errors, self.norms = (np.empty(n, np.float32) for _ in range(3))
        grow = np.float32(1 + 2 * (d + 4) * UNIT)  # what summing d squares in float32 can lose

        def quantize(start: int, stop: int) -> None:
            here = slice(start, stop)
            _quantize(rows[here], self.whole[here], self.steps[here])
            _lengths(
                rows[here], self.whole[here], self.steps[here], self.errors[here], self.norms[here], grow
            )

        in_shares(n, quantize)


@njit(cache=True, nogil=True, fastmath={"contract", "nnan"})
def _quantize(rows, whole, steps):  # pragma: no cover - compiled
    """Round every row to multiples of its largest size / 127."""
    for r in range(rows.shape[0]):
        largest = float32(0)
        for i in range(rows.shape[1]):
            # numba 0.68 knows no abs of a float32 where nothing has loaded its math functions before
            largest = max(largest, max(rows[r, i], -rows[r, i]))
        step = largest / float32(LEVELS)
        if step < float32(1e-30):
            step = float32(1e-30)
        inverse = float32(1) / step
        for i in range(rows.shape[1]):
            whole[r, i] = np.int8(np.rint(rows[r, i] * inverse))
        steps[r] = step


@njit(**_FAST)
def _lengths(rows, whole, steps, errors, norms, grow):  # pragma: no cover - compiled
    """Bounds above the length of every row and of what rounding took from it."""
    for r in range(rows.shape[0]):
        step, lost, length = steps[r], float32(0), float32(0)
        for i in range(rows.shape[1]):
            left = rows[r, i] - step * float32(whole[r, i])
            lost += left * left
            length += rows[r, i] * rows[r, i]
        norms[r] = np.sqrt(length) * grow
        errors[r] = np.sqrt(lost) * grow + float32(4 * UNIT) * norms[r]


@njit(**_FAST)
def _four(rows, r, table, picks, at, out):  # pragma: no cover - compiled
    """Four products of a row with picked rows of a table, read side by side."""
    a, b, c, d = picks[at], picks[at + 1], picks[at + 2], picks[at + 3]
    s, t, u, v = float32(0), float32(0), float32(0), float32(0)
    for i in range(rows.shape[1]):
        x = rows[r, i]
        s += x * table[a, i]
        t += x * table[b, i]
        u += x * table[c, i]
        v += x * table[d, i]
    out[at], out[at + 1], out[at + 2], out[at + 3] = s, t, u, v


@njit(**_FAST)
def _products(rows, r, table, biases, picks, first, last, out):  # pragma: no cover - compiled
    """Pre-activations of the picked latents; up to three places after the last are overwritten."""
    for at in range(last, last + 3):
        picks[at] = picks[last - 1]
    for at in range(first, last, 4):
        _four(rows, r, table, picks, at, out)
    for at in range(first, last):
        out[at] += biases[picks[at]]


@njit(**_FAST)
def _around_kth(values, n, k, n_halvings):  # pragma: no cover - compiled
    """Two numbers with the k-th largest between them: at least k are above or at the first."""
    low, high = values[0], values[0]
    for j in range(n):
        low, high = min(low, values[j]), max(high, values[j])
    for _ in range(n_halvings):
        middle = float32(0.5) * (low + high)
        above = float32(0)  # exact, and as wide as what it counts: twice as many fit into a vector
        for j in range(n):
            above += float32(1) if values[j] >= middle else float32(0)
        if above >= k:
            low = middle
        else:
            high = middle
    return low, high


@njit(**_FAST)
def _at_least(values, bound, found):  # pragma: no cover - compiled
    """Write where values reach a bound, ascending, and return how many; without a branch to guess wrong."""
    n_found = 0
    for j in range(values.size):
        found[n_found] = j
        n_found += values[j] >= bound
    return n_found


@njit(cache=True, nogil=True)
def _by_float64(
    row, table, biases, picks, open_to, n_open, wanted, chosen, n_chosen
):  # pragma: no cover - compiled
    """Choose the `wanted` largest of the open candidates by their products in float64, ties by latent."""
    exact = np.empty(n_open)
    for j in range(n_open):
        pick = picks[open_to[j]]
        total = np.float64(biases[pick])
        for i in range(row.size):
            total += np.float64(row[i]) * np.float64(table[pick, i])
        exact[j] = total
    for _ in range(wanted):
        best = 0
        for j in range(1, n_open):
            nearer = exact[j] == exact[best] and picks[open_to[j]] < picks[open_to[best]]
            if exact[j] > exact[best] or nearer:
                best = j
        chosen[n_chosen] = open_to[best]
        n_chosen += 1
        exact[best] = -np.inf


@njit(**_FAST)
def _ends(
    products, r, start, stop, step, error, length, slack, biases, steps_l, norms_l, errors_l, upper, lows,
    tops,
):  # fmt: skip  # pragma: no cover - compiled
    """Upper ends of consecutive latents, and what both ends make of the group maxima."""
    for g in range(np.uint64(stop - start)):  # unsigned: no question of its sign that would stop vectors
        j = np.uint64(start) + g
        middle = float32(products[r, j]) * (step * steps_l[j]) + biases[j]
        width = error * norms_l[j] + length * errors_l[j] + slack
        high = middle + width
        upper[j] = high
        lows[g] = max(lows[g], middle - width)
        tops[g] = max(tops[g], high)


@njit(**_FAST)
def _reaching(upper, tops, bound, groups, found):  # pragma: no cover - compiled
    """Write the latents whose upper end reaches a bound and return how many: only in groups with one."""
    n_groups = _at_least(tops, bound, groups)
    n_found = 0
    for at in range(n_groups):
        for j in range(groups[at], upper.size, tops.size):
            found[n_found] = j
            n_found += upper[j] >= bound
    return n_found


@njit(**_FAST)
def _surely_first(
    upper, bound, error, length, slack, norms_l, errors_l, found, n_found, picks
):  # pragma: no cover - compiled
    """Write those whose whole interval is above a bound, and three places after them the others; how many."""
    n_sure, last = 0, n_found + 2
    for at in range(n_found):
        pick = found[at]
        width = error * norms_l[pick] + length * errors_l[pick] + slack
        sure = upper[pick] - 2 * width >= bound
        picks[n_sure if sure else last] = pick
        n_sure += sure
        last -= not sure
    return n_sure


@njit(**_FAST)
def _still_reaching(upper, bound, picks, first, last):  # pragma: no cover - compiled
    """Move those of the others whose upper end reaches a bound up to `first`; where they end."""
    end = first
    for at in range(first + 3, last + 3):
        pick = picks[at]
        picks[end] = pick
        end += upper[pick] >= bound
    return end


@njit(**_FAST)
def _settle(
    products, rows, table, biases, slack, steps, errors, lengths, doubts,
    steps_l, norms_l, errors_l, n_groups, values, latents, n_exact,
):  # fmt: skip  # pragma: no cover - compiled
    """The three passes over every row; names as in `screened_top_k`, `_l` of a latent."""
    n, d_sae = products.shape
    k = values.shape[1]
    upper = np.empty(d_sae, np.float32)
    lows, tops = np.empty(n_groups, np.float32), np.empty(n_groups, np.float32)
    groups, found, picks = np.empty((3, d_sae + 4), np.int64)
    exact = np.empty(d_sae + 4, np.float32)
    open_to, chosen = np.empty(d_sae + 1, np.int64), np.empty(d_sae + 1, np.int64)
    for r in range(n):
        step, error, length, doubt = steps[r], errors[r], lengths[r], doubts[r]
        lows[:] = -np.inf
        tops[:] = -np.inf
        for start in range(0, d_sae, n_groups):
            stop = min(start + n_groups, d_sae)
            _ends(
                products, r, start, stop, step, error, length, slack, biases, steps_l, norms_l, errors_l,
                upper, lows, tops,
            )  # fmt: skip
        bound, _ = _around_kth(lows, n_groups, k, COARSE)
        n_sure = _reaching(upper, tops, bound, groups, found)
        n_first = _surely_first(upper, bound, error, length, slack, norms_l, errors_l, found, n_sure, picks)
        if n_first >= k:
            _products(rows, r, table, biases, picks, 0, n_first, exact)
            bound = max(bound, _around_kth(exact, n_first, k, COARSE)[0] - doubt)
            n_sure = _still_reaching(upper, bound, picks, n_first, n_sure)
        else:
            n_first = 0
            picks[:n_sure] = found[:n_sure]
        _products(rows, r, table, biases, picks, n_first, n_sure, exact)
        low, high = _around_kth(exact, n_sure, k, FINE)
        n_chosen, n_open = 0, 0
        for j in range(n_sure):
            above = exact[j] > high + 2 * doubt
            chosen[n_chosen] = j
            n_chosen += above
            open_to[n_open] = j
            n_open += not above and exact[j] >= low - 2 * doubt
        if n_chosen + n_open == k:
            for j in range(n_open):
                chosen[n_chosen + j] = open_to[j]
        else:
            _by_float64(rows[r], table, biases, picks, open_to, n_open, k - n_chosen, chosen, n_chosen)
        for j in range(k):
            values[r, j] = exact[chosen[j]]
            latents[r, j] = picks[chosen[j]]
        n_exact[r] = n_sure
