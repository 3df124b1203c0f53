"""Choice of the latents that fire: the k largest per row, or the k * n_rows largest per batch; no autograd.

Pre-activations exist for one chunk of rows at a time, so memory does not grow with the batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.sae import topk_int8

CHUNK_ROWS = 512
"""Rows per chunk: 12.6 MB of pre-activations at d_sae = 6144. Larger products were no faster."""


@dataclass(frozen=True)
class Encoder:
    """The tensors of pre = (x - b_dec) W_enc + b_enc."""

    W_enc: Float[Tensor, "d_in d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    b_dec: Float[Tensor, " d_in"]

    def chunks(self, x: Float[Tensor, "row d_in"]) -> Iterator[Float[Tensor, "chunk d_sae"]]:
        """Yield the pre-activations of consecutive chunks of rows."""
        for part in x.split(CHUNK_ROWS):
            yield torch.addmm(self.b_enc, part - self.b_dec, self.W_enc)


@dataclass(frozen=True)
class Chosen:
    """The entries that fire, ascending by row."""

    values: Float[Tensor, " entry"]  # relu(pre)
    latents: Int[Tensor, " entry"]
    rows: Int[Tensor, " entry"]


@torch.no_grad()
def top_k(x: Float[Tensor, "row d_in"], encoder: Encoder, k: int) -> Chosen:
    """Return the k largest pre-activations of every row, with negative ones set to zero.

    Source: Gao et al. 2024, arXiv 2406.04093, equation 3.
    """
    rows = torch.arange(len(x), device=x.device).repeat_interleave(k)
    if topk_int8.use_for_batch(x, encoder.W_enc.shape[1], k):
        exact = topk_int8.top_k_int8((x - encoder.b_dec).contiguous(), encoder.W_enc, encoder.b_enc, k)
        if exact is not None:
            return Chosen(exact[0].relu_().flatten(), exact[1].flatten(), rows)
    parts = [pre.topk(k, dim=1, sorted=False) for pre in encoder.chunks(x)]
    values = torch.cat([part.values for part in parts]).relu_().flatten()
    latents = torch.cat([part.indices for part in parts]).flatten()
    return Chosen(values, latents, rows)


@torch.no_grad()
def batch_top_k(x: Float[Tensor, "row d_in"], encoder: Encoder, k: int, guess: float) -> Chosen:
    """Return the k * n_rows largest positive pre-activations of a batch, latents ascending in each row.

    Args:
        x: rows.
        encoder: gives the pre-activations.
        k: mean number of entries per row.
        guess: a value that most of the chosen entries exceed; 0 to estimate one. Entries below it are only
            considered if too few lie above it, so a wrong guess costs time but does not change the result.

    Source: Bussmann et al. 2024, arXiv 2412.06410, section 3.
    """
    n_entries = k * len(x)
    low = guess if guess > 0 else _first_guess(x, encoder, k)
    above = _above(x, encoder, low)
    if len(above.values) < n_entries and low > 0:
        above = _above(x, encoder, 0.0)
    if len(above.values) <= n_entries:
        return above
    largest = above.values.topk(n_entries, sorted=False).indices.sort().values
    return Chosen(above.values[largest], above.latents[largest], above.rows[largest])


def _first_guess(x: Tensor, encoder: Encoder, k: int) -> float:
    """The value that 2 k entries per row exceed in the first chunk, at least 0."""
    first = next(encoder.chunks(x))
    n_likely = min(2 * k * len(first), first.numel())
    return max(0.0, float(first.flatten().topk(n_likely, sorted=False).values.min()))


def _above(x: Tensor, encoder: Encoder, low: float) -> Chosen:
    """All entries above `low`."""
    values, latents, rows = [], [], []
    for number, pre in enumerate(encoder.chunks(x)):
        row, latent = (pre > low).nonzero(as_tuple=True)
        values.append(pre[row, latent])
        latents.append(latent)
        rows.append(row + number * CHUNK_ROWS)
    return Chosen(torch.cat(values), torch.cat(latents), torch.cat(rows))
