"""Which latents fire: the k largest of each row, or the k * n_rows largest of a batch. No autograd here.

Pre-activations are made a chunk of rows at a time and forgotten, so memory does not grow with the batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.sae import topk_int8

CHUNK_ROWS = 512
"""Rows whose pre-activations exist at one time: 12.6 MB at d_sae = 6144; larger products were no faster."""


@dataclass(frozen=True)
class Encoder:
    """The tensors that make pre-activations: pre = (x - b_dec) W_enc + b_enc."""

    W_enc: Float[Tensor, "d_in d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    b_dec: Float[Tensor, " d_in"]

    def chunks(self, x: Float[Tensor, "row d_in"]) -> Iterator[Float[Tensor, "chunk d_sae"]]:
        """Yield the pre-activations of consecutive rows."""
        for part in x.split(CHUNK_ROWS):
            yield torch.addmm(self.b_enc, part - self.b_dec, self.W_enc)


@dataclass(frozen=True)
class Chosen:
    """Entries in order of their row: value, latent, row."""

    values: Float[Tensor, " entry"]  # relu(pre)
    latents: Int[Tensor, " entry"]
    rows: Int[Tensor, " entry"]


@torch.no_grad()
def top_k(x: Float[Tensor, "row d_in"], encoder: Encoder, k: int) -> Chosen:
    """Return the k largest pre-activations of every row, negative ones as zero.

    Source: Gao et al. 2024, arXiv 2406.04093, equation 3.
    """
    rows = torch.arange(len(x), device=x.device).repeat_interleave(k)
    if topk_int8.pays(x, encoder.W_enc.shape[1], k):
        screened = topk_int8.screened_top_k((x - encoder.b_dec).contiguous(), encoder.W_enc, encoder.b_enc, k)
        if screened is not None:
            return Chosen(screened[0].relu_().flatten(), screened[1].flatten(), rows)
    parts = [pre.topk(k, dim=1, sorted=False) for pre in encoder.chunks(x)]
    values = torch.cat([part.values for part in parts]).relu_().flatten()
    latents = torch.cat([part.indices for part in parts]).flatten()
    return Chosen(values, latents, rows)


@torch.no_grad()
def batch_top_k(x: Float[Tensor, "row d_in"], encoder: Encoder, k: int, guess: float) -> Chosen:
    """Return the k * n_rows largest positive pre-activations of the batch, latents ascending in each row.

    Args:
        guess: a value most of them exceed, 0 to find one; entries below it are only looked at when too few
            lie above, so a wrong guess costs time and changes nothing.

    Source: Bussmann et al. 2024, arXiv 2412.06410, section 3.
    """
    wanted = k * len(x)
    low = guess if guess > 0 else _first_guess(x, encoder, k)
    found = _above(x, encoder, low)
    if len(found.values) < wanted and low > 0:
        found = _above(x, encoder, 0.0)
    if len(found.values) <= wanted:
        return found
    kept = found.values.topk(wanted, sorted=False).indices.sort().values
    return Chosen(found.values[kept], found.latents[kept], found.rows[kept])


def _first_guess(x: Tensor, encoder: Encoder, k: int) -> float:
    """What twice the entries needed exceed in the first chunk, at least 0."""
    first = next(encoder.chunks(x))
    n_likely = min(2 * k * len(first), first.numel())
    return max(0.0, float(first.flatten().topk(n_likely, sorted=False).values.min()))


def _above(x: Tensor, encoder: Encoder, low: float) -> Chosen:
    values, latents, rows = [], [], []
    for number, pre in enumerate(encoder.chunks(x)):
        row, latent = (pre > low).nonzero(as_tuple=True)
        values.append(pre[row, latent])
        latents.append(latent)
        rows.append(row + number * CHUNK_ROWS)
    return Chosen(torch.cat(values), torch.cat(latents), torch.cat(rows))
