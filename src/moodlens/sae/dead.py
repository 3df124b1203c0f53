"""Dead latents: how they are detected, and how they are resampled.

A latent is dead when it has fired on no training row for a given number of epochs. Other libraries count
samples (ten million by default), which a training on small data never reaches.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.sae.adam import Adam
from moodlens.sae.model import Sae


@dataclass
class Usage:
    """How long ago each latent last fired."""

    rows_since: Int[Tensor, " d_sae"]  # training rows since the last one on which it fired

    @classmethod
    def unused(cls, d_sae: int) -> "Usage":
        """Return the usage before the first batch."""
        return cls(torch.zeros(d_sae, dtype=torch.int64))

    def count(self, n_fired: Int[Tensor, " d_sae"], n_rows: int) -> None:
        """Add a batch of `n_rows` rows on which the latents fired `n_fired` times."""
        self.rows_since += n_rows
        self.rows_since[n_fired > 0] = 0

    def dead(self, patience_rows: float) -> Int[Tensor, " latent"]:
        """Return the latents, ascending, that fired on none of the last `patience_rows` rows or more."""
        return (self.rows_since >= patience_rows).nonzero().flatten()


@torch.no_grad()
def resample(
    sae: Sae,
    optimizer: Adam,
    dead: Int[Tensor, " latent"],
    rows: Float[Tensor, "row d_in"],
    generator: torch.Generator,
) -> None:
    """Point dead latents at badly reconstructed rows and reset their optimizer moments, in place.

    A row is drawn with probability proportional to its squared loss. The latent's decoder row becomes the
    centred row at unit length. Its encoder column gets the same direction, at `resampled_share` times the
    mean length of the columns of living latents.

    Args:
        sae: changed in place.
        optimizer: changed in place.
        dead: the dead latents.
        rows: training rows in the units the SAE is trained in.
        generator: draws the rows.

    Source: Bricken et al. 2023, "Towards Monosemanticity", appendix "Neuron Resampling".
    """
    if not len(dead):
        return
    losses = torch.cat([(part - sae(part)).pow(2).sum(1) for part in rows.split(1024)])
    weights = losses.pow(2) / losses.pow(2).max().clamp_min(1e-30) + 1e-12
    repeat = len(dead) > len(rows)
    picks = torch.multinomial(weights.cpu(), len(dead), replacement=repeat, generator=generator)
    directions = rows[picks.to(rows.device)] - sae.b_dec
    directions /= torch.linalg.vector_norm(directions, dim=1, keepdim=True).clamp_min(1e-12)
    alive = torch.ones(sae.config.d_sae, dtype=torch.bool)
    alive[dead] = False
    lengths = torch.linalg.vector_norm(sae.W_enc, dim=0)
    length = float(lengths[alive].mean()) if alive.any() else 1.0
    sae.W_dec[dead] = directions
    sae.W_enc[:, dead] = sae.resampled_share * length * directions.t()
    for name, value in sae.resets().items():
        sae.get_parameter(name)[dead] = value
    for name, parameter in sae.named_parameters():
        if name == "b_dec":
            continue
        for key in ("exp_avg", "exp_avg_sq"):
            moment = optimizer.state[parameter].get(key)
            if moment is not None:
                moment[(slice(None), dead) if name == "W_enc" else dead] = 0.0
