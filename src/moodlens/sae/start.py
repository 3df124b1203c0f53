"""Where training starts: b_dec at the geometric median of the rows, which outliers do not drag away."""

import torch
from jaxtyping import Float
from torch import Tensor

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
