"""The k largest pre-activations of every row: candidates from an 8-bit product, then an exact choice.

A product of 8-bit integers is several times faster than one of 32-bit floats on processors with VNNI, and its
error is bounded. With x = s q + e (q integers up to 127 in size) and likewise w = s' q' + e',

    |<x, w> - s s' <q, q'>|  <=  |e| |w| + |s q| |e'|          (Cauchy and Schwarz)

so every pre-activation lies in a known interval. Each row takes three passes:

1. A lower bound of the k-th largest pre-activation is the k-th largest lower end of an interval (among group
   maxima). Latents whose upper end is below this bound are dropped.
2. Latents whose whole interval is above the bound are computed in float32. Their k-th largest value is a
   better bound, which drops more latents.
3. The remaining latents are computed in float32. Where float32 cannot separate the k-th largest from the
   next, float64 decides, and ties go to the lower latent.

The latents are always the k largest pre-activations of these weights and rows as computed in float64. A row
with wide intervals has more candidates and takes longer.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import float32, njit
from torch import Tensor

from moodlens.sae.compiled import split_over_threads

CHUNK_PRODUCTS = 256 * 6144
"""8-bit products that are in memory at a time, 6.3 MB."""
MIN_WORK = 1 << 28
"""Multiplications of a batch from which this path is worth its compilation (a few seconds, then cached)."""
MIN_SPREAD = 16
"""Ratio d_sae / k below which a float32 product and a sort are equally fast."""
MIN_WIDTH = 2
"""Smallest d_in: `_int_mm` of torch 2.13 is wrong for d_in = 1."""
LEVELS = 127  # largest 8-bit integer used
UNIT = 2.0**-24
"""Unit roundoff of float32."""
BLOCK = 64  # the number of groups is a multiple of this
COARSE, FINE = 10, 16
"""Halvings in the search of a k-th largest value: for a bound, and for the final choice."""

_FAST = {"cache": True, "nogil": True, "fastmath": {"reassoc", "contract", "nsz", "nnan"}}


@cache
def has_vnni() -> bool:
    """Return whether the processor reports AVX-512 VNNI (fast products of 8-bit integers)."""
    return bool(torch.cpu.get_capabilities().get("avx512_vnni", False))


def use_for_batch(x: Float[Tensor, "row d_in"], d_sae: int, k: int) -> bool:
    """Return whether this path pays off: float32 on a CPU with VNNI, a large batch and a sparse code."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    plain = plain and x.shape[1] >= MIN_WIDTH
    large = x.numel() * d_sae >= MIN_WORK and d_sae >= MIN_SPREAD * k
    return plain and large and has_vnni()


@torch.no_grad()
def top_k_int8(
    x: Float[Tensor, "row d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    k: int,
) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"], Int[Tensor, " row"]] | None:
    """Return values, latents (unordered), and how many latents of each row were computed in float32.

    Args:
        x: rows minus b_dec; float32, contiguous.
        W_enc: fastest if its transpose is contiguous.
        b_enc: encoder biases.
        k: number of latents per row.

    Returns None if a row or a weight is not finite.
    """
    if not torch.isfinite(x.sum() + W_enc.sum() + b_enc.sum()):
        return None
    weights, biases = W_enc.t().contiguous().numpy(), b_enc.contiguous().numpy()
    rows, (d_sae, d_in) = x.numpy(), weights.shape
    of_x, of_W = Quantized(rows), Quantized(weights)
    slack = np.float32(8 * UNIT * np.abs(biases).max())
    rounding = np.float32((d_in + 4) * UNIT)
    roundings = of_x.norms * (rounding * of_W.norms.max()) + slack / 2
    errors = of_x.errors + 8 * UNIT * of_x.norms
    lengths = of_x.norms + of_x.errors
    n_groups = min(d_sae, -(-12 * k // BLOCK) * BLOCK)
    values = torch.empty(len(x), k)
    latents = torch.empty(len(x), k, dtype=torch.int64)
    n_exact = torch.empty(len(x), dtype=torch.int64)
    n_chunk = min(len(x), max(1, CHUNK_PRODUCTS // d_sae))
    products = torch.empty(n_chunk, d_sae, dtype=torch.int32)
    table = torch.from_numpy(of_W.integers).t()
    for first in range(0, len(x), n_chunk):
        last = min(first + n_chunk, len(x))
        part = products[: last - first]
        torch.ops.aten._int_mm.out(torch.from_numpy(of_x.integers[first:last]), table, out=part)

        def top_k_of_range(start: int, stop: int, first: int = first, part: Tensor = part) -> None:
            here = slice(first + start, first + stop)
            _top_k_of_rows(
                part[start:stop].numpy(), rows[here], weights, biases, slack, of_x.steps[here], errors[here],
                lengths[here], roundings[here], of_W.steps, of_W.norms, of_W.errors, n_groups,
                values[here].numpy(), latents[here].numpy(), n_exact[here].numpy(),
            )  # fmt: skip

        split_over_threads(last - first, top_k_of_range)
    return values, latents, n_exact


class Quantized:
    """Rows as 8-bit integers times a step per row, with bounds of each row's length and rounding error."""

    def __init__(self, rows: np.ndarray) -> None:
        n, d = rows.shape
        self.integers = np.empty((n, d), np.int8)
        self.steps, self.errors, self.norms = (np.empty(n, np.float32) for _ in range(3))
        grow = np.float32(1 + 2 * (d + 4) * UNIT)  # bound of the relative error of a float32 sum of d squares

        def quantize(start: int, stop: int) -> None:
            here = slice(start, stop)
            _quantize(rows[here], self.integers[here], self.steps[here])
            _lengths(
                rows[here], self.integers[here], self.steps[here], self.errors[here], self.norms[here], grow
            )

        split_over_threads(n, quantize)


@njit(cache=True, nogil=True, fastmath={"contract", "nnan"})
def _quantize(rows, integers, steps):  # pragma: no cover - compiled
    """Round every row to multiples of its largest absolute value / 127."""
    for r in range(rows.shape[0]):
        largest = float32(0)
        for i in range(rows.shape[1]):
            # numba 0.68 has no abs of a float32 unless something has loaded its math functions before
            largest = max(largest, max(rows[r, i], -rows[r, i]))
        step = largest / float32(LEVELS)
        if step < float32(1e-30):
            step = float32(1e-30)
        inverse = float32(1) / step
        for i in range(rows.shape[1]):
            integers[r, i] = np.int8(np.rint(rows[r, i] * inverse))
        steps[r] = step


@njit(**_FAST)
def _lengths(rows, integers, steps, errors, norms, grow):  # pragma: no cover - compiled
    """Upper bounds of the length of every row and of its rounding error."""
    for r in range(rows.shape[0]):
        step, lost, length = steps[r], float32(0), float32(0)
        for i in range(rows.shape[1]):
            left = rows[r, i] - step * float32(integers[r, i])
            lost += left * left
            length += rows[r, i] * rows[r, i]
        norms[r] = np.sqrt(length) * grow
        errors[r] = np.sqrt(lost) * grow + float32(4 * UNIT) * norms[r]


@njit(**_FAST)
def _four_products(rows, r, table, picks, at, out):  # pragma: no cover - compiled
    """Products of a row with four picked rows of a table, which are read in parallel."""
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
    """Pre-activations of the picked latents. Up to three elements after `last` are overwritten."""
    for at in range(last, last + 3):
        picks[at] = picks[last - 1]
    for at in range(first, last, 4):
        _four_products(rows, r, table, picks, at, out)
    for at in range(first, last):
        out[at] += biases[picks[at]]


@njit(**_FAST)
def _bracket_kth(values, n, k, n_halvings):  # pragma: no cover - compiled
    """Return a lower and an upper bound of the k-th largest value; at least k values reach the lower one."""
    low, high = values[0], values[0]
    for j in range(n):
        low, high = min(low, values[j]), max(high, values[j])
    for _ in range(n_halvings):
        middle = float32(0.5) * (low + high)
        above = float32(0)  # a float32 count is exact here, and vectorises twice as wide as int64
        for j in range(n):
            above += float32(1) if values[j] >= middle else float32(0)
        if above >= k:
            low = middle
        else:
            high = middle
    return low, high


@njit(**_FAST)
def _at_least(values, bound, candidates):  # pragma: no cover - compiled
    """Write the ascending indices of values that reach a bound and return their number (without branches)."""
    n_candidates = 0
    for j in range(values.size):
        candidates[n_candidates] = j
        n_candidates += values[j] >= bound
    return n_candidates


@njit(cache=True, nogil=True)
def _choose_in_float64(
    row, table, biases, picks, undecided, n_undecided, n_missing, chosen, n_chosen
):  # pragma: no cover - compiled
    """Choose the `n_missing` largest of the undecided candidates in float64; ties go to the lower latent."""
    exact = np.empty(n_undecided)
    for j in range(n_undecided):
        pick = picks[undecided[j]]
        total = np.float64(biases[pick])
        for i in range(row.size):
            total += np.float64(row[i]) * np.float64(table[pick, i])
        exact[j] = total
    for _ in range(n_missing):
        best = 0
        for j in range(1, n_undecided):
            tie = exact[j] == exact[best] and picks[undecided[j]] < picks[undecided[best]]
            if exact[j] > exact[best] or tie:
                best = j
        chosen[n_chosen] = undecided[best]
        n_chosen += 1
        exact[best] = -np.inf


@njit(**_FAST)
def _upper_bounds(
    products, r, start, stop, step, error, length, slack, biases, steps_l, norms_l, errors_l, upper, lows,
    tops,
):  # fmt: skip  # pragma: no cover - compiled
    """Write the upper ends of consecutive latents, and update the group maxima of lower and upper ends."""
    for g in range(np.uint64(stop - start)):  # unsigned, because a sign check would prevent vectorisation
        j = np.uint64(start) + g
        middle = float32(products[r, j]) * (step * steps_l[j]) + biases[j]
        width = error * norms_l[j] + length * errors_l[j] + slack
        high = middle + width
        upper[j] = high
        lows[g] = max(lows[g], middle - width)
        tops[g] = max(tops[g], high)


@njit(**_FAST)
def _write_candidates(upper, tops, bound, groups, candidates):  # pragma: no cover - compiled
    """Write the latents whose upper end reaches a bound and return their number; skips groups without one."""
    n_groups = _at_least(tops, bound, groups)
    n_candidates = 0
    for at in range(n_groups):
        for j in range(groups[at], upper.size, tops.size):
            candidates[n_candidates] = j
            n_candidates += upper[j] >= bound
    return n_candidates


@njit(**_FAST)
def _split_certain(
    upper, bound, error, length, slack, norms_l, errors_l, candidates, n_candidates, picks
):  # pragma: no cover - compiled
    """Write candidates wholly above a bound, a gap of three, then the others; return how many are above."""
    n_certain, last = 0, n_candidates + 2
    for at in range(n_candidates):
        pick = candidates[at]
        width = error * norms_l[pick] + length * errors_l[pick] + slack
        certain = upper[pick] - 2 * width >= bound
        picks[n_certain if certain else last] = pick
        n_certain += certain
        last -= not certain
    return n_certain


@njit(**_FAST)
def _drop_below(upper, bound, picks, first, last):  # pragma: no cover - compiled
    """Move the other candidates whose upper end reaches a bound to `first`, and return where they end."""
    end = first
    for at in range(first + 3, last + 3):
        pick = picks[at]
        picks[end] = pick
        end += upper[pick] >= bound
    return end


@njit(**_FAST)
def _top_k_of_rows(
    products, rows, table, biases, slack, steps, errors, lengths, roundings,
    steps_l, norms_l, errors_l, n_groups, values, latents, n_exact,
):  # fmt: skip  # pragma: no cover - compiled
    """The three passes over every row; names as in `top_k_int8`, with suffix `_l` for latents."""
    n, d_sae = products.shape
    k = values.shape[1]
    upper = np.empty(d_sae, np.float32)
    lows, tops = np.empty(n_groups, np.float32), np.empty(n_groups, np.float32)
    groups, candidates, picks = np.empty((3, d_sae + 4), np.int64)
    exact = np.empty(d_sae + 4, np.float32)
    undecided, chosen = np.empty(d_sae + 1, np.int64), np.empty(d_sae + 1, np.int64)
    for r in range(n):
        step, error, length, rounding = steps[r], errors[r], lengths[r], roundings[r]
        lows[:] = -np.inf
        tops[:] = -np.inf
        for start in range(0, d_sae, n_groups):
            stop = min(start + n_groups, d_sae)
            _upper_bounds(
                products, r, start, stop, step, error, length, slack, biases, steps_l, norms_l, errors_l,
                upper, lows, tops,
            )  # fmt: skip
        bound, _ = _bracket_kth(lows, n_groups, k, COARSE)
        n_candidates = _write_candidates(upper, tops, bound, groups, candidates)
        n_certain = _split_certain(
            upper, bound, error, length, slack, norms_l, errors_l, candidates, n_candidates, picks
        )
        if n_certain >= k:
            _products(rows, r, table, biases, picks, 0, n_certain, exact)
            bound = max(bound, _bracket_kth(exact, n_certain, k, COARSE)[0] - rounding)
            n_candidates = _drop_below(upper, bound, picks, n_certain, n_candidates)
        else:
            n_certain = 0
            picks[:n_candidates] = candidates[:n_candidates]
        _products(rows, r, table, biases, picks, n_certain, n_candidates, exact)
        low, high = _bracket_kth(exact, n_candidates, k, FINE)
        n_chosen, n_undecided = 0, 0
        for j in range(n_candidates):
            above = exact[j] > high + 2 * rounding
            chosen[n_chosen] = j
            n_chosen += above
            undecided[n_undecided] = j
            n_undecided += not above and exact[j] >= low - 2 * rounding
        if n_chosen + n_undecided == k:
            for j in range(n_undecided):
                chosen[n_chosen + j] = undecided[j]
        else:
            _choose_in_float64(
                rows[r], table, biases, picks, undecided, n_undecided, k - n_chosen, chosen, n_chosen
            )
        for j in range(k):
            values[r, j] = exact[chosen[j]]
            latents[r, j] = picks[chosen[j]]
        n_exact[r] = n_candidates
