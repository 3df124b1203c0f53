"""Where training starts: b_dec at the geometric median of the rows, the encoder at its best length."""

import torch
from jaxtyping import Float
from torch import Tensor

from moodlens.sae.topk import TopKSae

N_FIT = 1024
"""Rows that the encoder's first length is fitted on."""
N_ITERATIONS = 100
TOLERANCE = 1e-6
"""Relative movement at which the iteration has arrived."""


def geometric_median(rows: Float[Tensor, "row d_in"]) -> Float[Tensor, " d_in"]:
    """Return the point whose summed distance to the rows is least, by Weiszfeld's iteration, in float32.

    Source: Weiszfeld 1937; as b_dec: Bricken et al. 2023; SAELens `compute_geometric_median`.

    >>> geometric_median(torch.tensor([[0.0], [0.0], [0.0], [100.0]])).abs().item() < 1e-3
    True
    """
    exact = rows.double()
    median = exact.mean(0)
    scale = float((exact - median).abs().mean()) or 1.0
    for _ in range(N_ITERATIONS):
        distances = torch.linalg.vector_norm(exact - median, dim=1).clamp_min(1e-9 * scale)
        weights = 1 / distances
        moved = (weights[:, None] * exact).sum(0) / weights.sum()
        step = float((moved - median).abs().max())
        median = moved
        if step < TOLERANCE * scale:
            break
    return median.float()


@torch.no_grad()
def fit_length(sae: TopKSae, rows: Float[Tensor, "row d_in"]) -> float:
    """Scale the encoder so that the first reconstruction has the least squared error; return the factor.

    k latents of an overcomplete random dictionary are not orthogonal, so at unit length they reconstruct too
    much: the factor is <x, x_hat> / <x_hat, x_hat> over at most N_FIT rows, both without b_dec. It is 1 where
    nothing fires.
    """
    rows = rows[:N_FIT].to(sae.W_dec.device)
    first = TopKSae.encode(sae, rows) @ sae.W_dec  # the batch families, too, keep k of a row here
    length = float(first.pow(2).sum())
    factor = float(((rows - sae.b_dec) * first).sum()) / length if length > 0 else 1.0
    sae.W_enc.mul_(factor)
    return factor
