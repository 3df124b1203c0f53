"""Data-dependent initialization: b_dec from the rows, decoder rows near the rows, a fitted encoder scale."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.base.seeding import seed_for
from moodlens.sae.model import Sae
from moodlens.sae.topk import TopKSae

N_FIT = 1024
"""Rows that the encoder scale is fitted on."""
N_ITERATIONS = 100
ROW_SHARE = 2.0
"""Weight of a training row's direction in an initial decoder row; a random direction has weight 1."""
TOLERANCE = 1e-6
"""Relative change at which the iteration stops."""


def geometric_median(rows: Float[Tensor, "row d_in"]) -> Float[Tensor, " d_in"]:
    """Return the point with the smallest summed distance to the rows (Weiszfeld's iteration), float32.

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
        updated = (weights[:, None] * exact).sum(0) / weights.sum()
        step = float((updated - median).abs().max())
        median = updated
        if step < TOLERANCE * scale:
            break
    return median.float()


@torch.no_grad()
def initialize(sae: Sae, rows: Float[Tensor, "row d_in"], seed: int) -> None:
    """Initialize an untrained SAE from rows, in place: b_dec for all, the rest for the top-k family only.

    Args:
        sae: an untrained SAE.
        rows: a sample of the training rows, in the units the SAE is trained in.
        seed: seed of the training.
    """
    sae.b_dec.copy_(geometric_median(rows))
    if isinstance(sae, TopKSae):
        point_at_rows(sae, rows, seed)
        fit_encoder_scale(sae, rows)


@torch.no_grad()
def point_at_rows(sae: Sae, rows: Float[Tensor, "row d_in"], seed: int) -> None:
    """Point every decoder row at a training row, in place, and set W_enc to the transpose of W_dec.

    A decoder row becomes ROW_SHARE times the direction of a centred training row plus its own random
    direction, scaled to unit length. Two decoder rows that share a training row therefore still differ.

    Args:
        sae: has random unit decoder rows and b_dec set.
        rows: training rows, in the units the SAE is trained in.
        seed: seed of the training.
    """
    directions = torch.nn.functional.normalize(rows.to(sae.W_dec.device) - sae.b_dec, dim=1)
    generator = torch.Generator().manual_seed(seed_for("sae start", seed))
    sae.W_dec.add_(directions[spread_rows(directions, sae.config.d_sae, generator)], alpha=ROW_SHARE)
    sae.project()
    sae.W_enc.copy_(sae.W_dec.t())


def spread_rows(
    directions: Float[Tensor, "row d_in"], n_picks: int, generator: torch.Generator
) -> Int[Tensor, " n_picks"]:
    """Return indices of rows that lie far apart.

    Each row is drawn with probability proportional to 1 - cosine to its nearest row picked before. If
    `n_picks` is at least the number of rows, all rows are returned in random order, repeated as needed.

    Source: Arthur & Vassilvitskii 2007, "k-means++", on the sphere.
    """
    n_rows = len(directions)
    if n_picks >= n_rows:
        rounds = [torch.randperm(n_rows, generator=generator) for _ in range(-(-n_picks // n_rows))]
        return torch.cat(rounds)[:n_picks]
    distances, picks = torch.ones(n_rows), []
    for _ in range(n_picks):
        pick = torch.multinomial(distances.clamp_min(1e-6), 1, generator=generator)
        picks.append(pick)
        nearness = directions @ directions[int(pick)]
        distances = torch.minimum(distances, 1 - nearness.cpu())
    return torch.cat(picks)


@torch.no_grad()
def fit_encoder_scale(sae: TopKSae, rows: Float[Tensor, "row d_in"]) -> float:
    """Scale the encoder to the least squared error of the initial reconstruction; return the factor.

    The factor is <x, x_hat> / <x_hat, x_hat> over at most N_FIT rows, both without b_dec; it is 1 if nothing
    fires. It is needed because k latents of an overcomplete random dictionary are not orthogonal: at unit
    length their sum is too long.
    """
    rows = rows[:N_FIT].to(sae.W_dec.device)
    recon = TopKSae.encode(sae, rows) @ sae.W_dec  # k per row for the batch families too
    square = float(recon.pow(2).sum())
    factor = float(((rows - sae.b_dec) * recon).sum()) / square if square > 0 else 1.0
    sae.W_enc.mul_(factor)
    return factor
