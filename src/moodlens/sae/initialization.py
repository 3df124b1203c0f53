"""Where training starts: b_dec amid the rows, decoder rows towards rows, the encoder at its best length."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.base.seeding import seed_for
from moodlens.sae.model import Sae
from moodlens.sae.topk import TopKSae

N_FIT = 1024
"""Rows that the encoder's first length is fitted on."""
N_ITERATIONS = 100
ROW_SHARE = 2.0
"""Parts of a training row's direction in a new decoder row, beside one part of a random direction."""
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
def begin(sae: Sae, rows: Float[Tensor, "row d_in"], seed: int) -> None:
    """Prepare a new SAE for its first step: b_dec for every architecture, the rest for the top-k families.

    Args:
        rows: a sample of the training rows, in the units the SAE is trained in.
        seed: of the training.
    """
    sae.b_dec.copy_(geometric_median(rows))
    if isinstance(sae, TopKSae):
        turn_to_rows(sae, rows, seed)
        fit_length(sae, rows)


@torch.no_grad()
def turn_to_rows(sae: Sae, rows: Float[Tensor, "row d_in"], seed: int) -> None:
    """Turn every decoder row towards a training row, W_enc with it: latents begin where the data are.

    A decoder row becomes ROW_SHARE parts of a centred row's direction and one part of its own random one, at
    unit length, so that two that share a row still differ.

    Args:
        rows: training rows, in the units the SAE is trained in.
    """
    directions = torch.nn.functional.normalize(rows.to(sae.W_dec.device) - sae.b_dec, dim=1)
    generator = torch.Generator().manual_seed(seed_for("sae start", seed))
    sae.W_dec.add_(directions[spread(directions, sae.config.d_sae, generator)], alpha=ROW_SHARE)
    sae.project()
    sae.W_enc.copy_(sae.W_dec.t())


def spread(
    directions: Float[Tensor, "row d_in"], n_picks: int, generator: torch.Generator
) -> Int[Tensor, " n_picks"]:
    """Return rows that lie far apart: each drawn in proportion to 1 - the cosine of its nearest pick.

    All rows in random order, as often as needed, where more are asked for than there are.

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
