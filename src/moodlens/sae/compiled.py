"""The sums of the sparse path as compiled loops: a row of a weight is read once for all that is asked of it.

`kernel.py` says what is computed; this is how on a CPU in float32. Compilation takes seconds once and is
cached on disk, so small batches stay with torch.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import float32, njit
from torch import Tensor

from moodlens.sae.shares import in_shares

MIN_WORK = 1 << 28
"""Multiplications of a dense encoder product from which compiled loops are taken."""
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
    slopes: Float[Tensor, " entry"],
    rows: Int[Tensor, " entry"],
    latent_starts: Int[Tensor, " d_sae"],
) -> tuple[Float[Tensor, "d_sae d_in"], Float[Tensor, "d_sae d_in"]]:
    """Return sum(values residual[row]) and sum(slopes centred[row]) per latent; entries in its order."""
    shape = (len(latent_starts), centred.shape[1])
    d_dec, d_enc = centred.new_empty(shape), centred.new_empty(shape)
    starts = _closed(latent_starts, len(values))
    arrays = [t.numpy() for t in (centred, residual, values, slopes, rows, starts, d_dec, d_enc)]
    in_shares(shape[0], lambda start, stop: _weight_gradients(start, stop, *arrays))
    return d_dec, d_enc


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


@njit(**_FAST)
def _add_four(out, table, weights, picks, at, last):  # pragma: no cover - compiled
    """Add four weighted rows of a table; places after the last weigh nothing."""
    i1, i2, i3 = min(at + 1, last), min(at + 2, last), min(at + 3, last)
    a, b, c, d = table[picks[at]], table[picks[i1]], table[picks[i2]], table[picks[i3]]
    p = weights[at]
    q = weights[i1] if i1 == at + 1 else float32(0)
    r = weights[i2] if i2 == at + 2 else float32(0)
    s = weights[i3] if i3 == at + 3 else float32(0)
    for i in range(out.size):
        out[i] += p * a[i] + q * b[i] + r * c[i] + s * d[i]


@njit(**_FAST)
def _explain(
    start, stop, centred, W_dec, values, latents, starts, residual, squares, along
):  # pragma: no cover - compiled
    for r in range(start, stop):
        first, last = starts[r], starts[r + 1]
        left = residual[r]
        left[:] = float32(0)
        for at in range(first, last, 4):
            _add_four(left, W_dec, values, latents, at, last - 1)
        square = float32(0)
        for i in range(left.size):
            left[i] = centred[r, i] - left[i]
            square += left[i] * left[i]
        squares[r] = square
        for at in range(first, last, 4):
            i1, i2, i3 = min(at + 1, last - 1), min(at + 2, last - 1), min(at + 3, last - 1)
            a, b, c, d = W_dec[latents[at]], W_dec[latents[i1]], W_dec[latents[i2]], W_dec[latents[i3]]
            s, t, u, v = float32(0), float32(0), float32(0), float32(0)
            for i in range(left.size):
                x = left[i]
                s += x * a[i]
                t += x * b[i]
                u += x * c[i]
                v += x * d[i]
            # the last place is written last by the product that is its own
            along[i3] = v if values[i3] > 0 else float32(0)
            along[i2] = u if values[i2] > 0 else float32(0)
            along[i1] = t if values[i1] > 0 else float32(0)
            along[at] = s if values[at] > 0 else float32(0)


@njit(**_FAST)
def _weight_gradients(
    start, stop, centred, residual, values, slopes, rows, starts, d_dec, d_enc
):  # pragma: no cover - compiled
    for latent in range(start, stop):
        first, last = starts[latent], starts[latent + 1]
        d_dec[latent] = float32(0)
        d_enc[latent] = float32(0)
        for at in range(first, last, 4):
            _add_four(d_dec[latent], residual, values, rows, at, last - 1)
            _add_four(d_enc[latent], centred, slopes, rows, at, last - 1)


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
