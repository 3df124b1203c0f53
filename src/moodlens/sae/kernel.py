"""The sparse training path: gradients of the active entries only, without a dense (row, d_sae) matrix.

Which latents fire is chosen without autograd (`selection.py`); this module holds the hand-written gradients
of their contributions. With an entry e = (row r, latent s, value v) and upstream gradient G (row, d_in):

    x_hat[r]    = sum_e v W_dec[s]                dW_dec[s]    = sum_e v G[r]
    dv          = <G[r], W_dec[s]>  where v > 0   dW_enc[:, s] = sum_e dv (x[r] - b_dec)

Every sum is a weighted bag of rows (`embedding_bag`), which reads each row in place and writes each result
once. Both weight gradients need the entries sorted by latent, and share one sort. The encoder's part of the
gradient of b_dec costs one matrix-vector product, because sum_r dpre[r] W_enc' = W_enc db_enc.

Source: idea from EleutherAI/sparsify `fused_encoder.py` and OpenAI `sparse_autoencoder/kernels.py` (Triton).
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import embedding_bag

from moodlens.sae import compiled

SUM = 0
"""Code of mode="sum" in `_embedding_bag_per_sample_weights_backward`."""


@dataclass(frozen=True)
class Firing:
    """Index of a sparse code: which latents fire on which rows. Entries ascend by row.

    A bag is the set of entries that one reconstruction sums over: those of a row, or those of a row's latents
    in one nested group (Matryoshka).
    """

    latents: Int[Tensor, " entry"]
    rows: Int[Tensor, " entry"]
    row_starts: Int[Tensor, " row"]  # first entry of each row
    bags: Int[Tensor, " entry"]  # ascending
    bag_starts: Int[Tensor, " bag"]
    by_latent: Int[Tensor, " entry"]  # entries sorted by latent
    latent_starts: Int[Tensor, " d_sae"]  # index in `by_latent` of each latent's first entry
    n_fired: Int[Tensor, " d_sae"]  # number of entries of each latent


def firing_of(
    latents: Int[Tensor, " entry"],
    rows: Int[Tensor, " entry"],
    n_rows: int,
    d_sae: int,
    groups: Int[Tensor, " entry"] | None = None,
    n_groups: int = 1,
) -> Firing:
    """Return the index of a sparse code, with entries sorted by row and by latent.

    Args:
        latents: latent of each entry.
        rows: row of each entry, ascending.
        n_rows: number of rows.
        d_sae: number of latents.
        groups: nested group of each entry, ascending within a row; None for one group.
        n_groups: number of nested groups.
    """
    row_starts = starts_of(torch.bincount(rows, minlength=n_rows))
    bags, bag_starts = rows, row_starts
    if groups is not None:
        bags = rows * n_groups + groups
        bag_starts = starts_of(torch.bincount(bags, minlength=n_rows * n_groups))
    if compiled.use_for_sorting(latents):
        by_latent, latent_starts, n_fired = compiled.sort_by_latent(latents, d_sae)
    else:  # 32-bit keys sort twice as fast as 64-bit ones
        by_latent = torch.sort(latents.int(), stable=True).indices
        n_fired = torch.bincount(latents, minlength=d_sae)
        latent_starts = starts_of(n_fired)
    return Firing(latents, rows, row_starts, bags, bag_starts, by_latent, latent_starts, n_fired)


def starts_of(counts: Int[Tensor, " bag"]) -> Int[Tensor, " bag"]:
    """Return the start of each bag when bags of these sizes follow one another.

    >>> starts_of(torch.tensor([2, 0, 3])).tolist()
    [0, 2, 2]
    """
    return torch.cumsum(counts, 0) - counts


def sparse_encode(
    x: Float[Tensor, "row d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    b_dec: Float[Tensor, " d_in"],
    values: Float[Tensor, " entry"],
    firing: Firing,
) -> Float[Tensor, " entry"]:
    """Return `values` as a differentiable function of x, W_enc, b_enc, b_dec.

    Args:
        values: relu(pre) of each entry, computed by `selection` from the same tensors.
    """
    return _Encode.apply(x, W_enc, b_enc, b_dec, values, firing)


def sparse_decode(
    values: Float[Tensor, " entry"], W_dec: Float[Tensor, "d_sae d_in"], firing: Firing
) -> Float[Tensor, "bag d_in"]:
    """Return the sum of value * W_dec[latent] over the entries of each bag, without b_dec."""
    return _Decode.apply(values, W_dec, firing)


def reconstruction_error(
    x: Float[Tensor, "row d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    b_dec: Float[Tensor, " d_in"],
    W_dec: Float[Tensor, "d_sae d_in"],
    values: Float[Tensor, " entry"],
    firing: Firing,
) -> tuple[Tensor, Float[Tensor, "row d_in"]]:
    """Return the squared error of a code (sum over d_in, mean over rows), and x - x_hat without gradient.

    Args:
        values: as in `sparse_encode`.
        firing: its bags are rows.
    """
    if compiled.use_for_batch(x, W_dec.shape[0]):
        return _ReconstructionError.apply(x, W_enc, b_enc, b_dec, W_dec, values, firing)
    encoded = sparse_encode(x, W_enc, b_enc, b_dec, values, firing)
    residual = x - (sparse_decode(encoded, W_dec, firing) + b_dec)
    return residual.pow(2).sum(1).mean(), residual.detach()


def _bag_sums(table: Tensor, picks: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the picked rows of a table, per bag."""
    return embedding_bag(picks, table.contiguous(), starts, mode="sum", per_sample_weights=weights)


class _Encode(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, W_enc: Tensor, b_enc: Tensor, b_dec: Tensor, values: Tensor, firing: Firing
    ) -> Tensor:
        ctx.save_for_backward(x, W_enc, b_dec, values)
        ctx.firing = firing
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, W_enc, b_dec, values = ctx.saved_tensors
        firing: Firing = ctx.firing
        d_pre = torch.where(values > 0, grads[0], 0)
        d_b_enc = d_pre.new_zeros(W_enc.shape[1]).index_add_(0, firing.latents, d_pre)
        d_x = d_W_enc = None
        if ctx.needs_input_grad[0]:
            d_x = _bag_sums(W_enc.t(), firing.latents, firing.row_starts, d_pre)
        if ctx.needs_input_grad[1]:
            order = firing.by_latent
            d_W_enc = _bag_sums(x - b_dec, firing.rows[order], firing.latent_starts, d_pre[order]).t()
        d_b_dec = -(W_enc @ d_b_enc) if ctx.needs_input_grad[3] else None
        return d_x, d_W_enc, d_b_enc, d_b_dec, None, None


class _Decode(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, W_dec: Tensor, firing: Firing) -> Tensor:
        ctx.save_for_backward(values, W_dec)
        ctx.firing = firing
        return _bag_sums(W_dec, firing.latents, firing.bag_starts, values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, W_dec = ctx.saved_tensors
        firing: Firing = ctx.firing
        upstream, order = grads[0].contiguous(), firing.by_latent
        d_values = d_W_dec = None
        if ctx.needs_input_grad[0]:
            d_values = torch.ops.aten._embedding_bag_per_sample_weights_backward(
                upstream, W_dec.contiguous(), firing.latents, firing.bag_starts, firing.bags, SUM
            )
        if ctx.needs_input_grad[1]:
            d_W_dec = _bag_sums(upstream, firing.bags[order], firing.latent_starts, values[order])
        return d_values, d_W_dec, None


class _ReconstructionError(Function):
    """Encoding, decoding and the squared error in one, with compiled loops."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        W_enc: Tensor,
        b_enc: Tensor,
        b_dec: Tensor,
        W_dec: Tensor,
        values: Tensor,
        firing: Firing,
    ) -> tuple[Tensor, Tensor]:
        centred = x - b_dec
        residual, squares, products = compiled.residuals(
            centred, W_dec, values, firing.latents, firing.row_starts
        )
        ctx.save_for_backward(centred, residual, W_enc, values, products)
        ctx.firing = firing
        ctx.mark_non_differentiable(residual)
        return squares.mean(), residual

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        centred, residual, W_enc, values, products = ctx.saved_tensors
        firing: Firing = ctx.firing
        scale = grads[0] * (-2 / len(centred))  # d error / d x_hat is scale * residual
        d_W_dec, d_W_enc, d_b_enc = compiled.weight_gradients(
            centred, residual, values, products, float(scale), firing.rows, firing.by_latent,
            firing.latent_starts,
        )  # fmt: skip
        d_b_dec = residual.sum(0) * scale - W_enc @ d_b_enc
        return None, d_W_enc.t(), d_b_enc, d_b_dec, d_W_dec, None, None
