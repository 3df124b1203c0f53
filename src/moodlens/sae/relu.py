"""ReLU with an L1 penalty: the standard sparse autoencoder (`standard` in SAELens)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moodlens.sae.model import Losses, Sae, SaeConfig, require, squared_error


@dataclass(frozen=True)
class ReluConfig(SaeConfig):
    """Config of ReLU."""

    l1: float = 1e-3  # weight of the mean L1 norm of the latents, against the squared error per dimension

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "l1", "be zero or above", self.l1 >= 0, "Set it to 0 for no penalty")


class ReluSae(Sae):
    """latents = relu(pre); loss = squared error + l1 * d_in * mean_row sum |latents|.

    The squared error is a sum over d_in, so with the factor d_in `l1` has the same effect at every width.

    Source: Bricken et al. 2023, "Towards Monosemanticity"; with unit decoder rows the penalty equals the
    decoder-weighted penalty of SAELens (`StandardTrainingSAE`) at l1_coefficient = l1 * d_in.
    """

    name = "relu"

    def __init__(self, config: ReluConfig) -> None:
        super().__init__(config)
        self.penalty_weight = config.l1 * config.d_in
        self.b_enc = nn.Parameter(torch.zeros(config.d_sae))

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_sae"]:
        return torch.relu(self.hidden(x) + self.b_enc)

    def losses(
        self, x: Float[Tensor, "row d_in"], dead: Int[Tensor, " latent"], penalty_share: float
    ) -> Losses:
        latents = self.encode(x)
        error = squared_error(x, self.decode(latents))
        penalty = self.penalty_weight * latents.sum(1).mean()
        return Losses(error + penalty_share * penalty, error.detach(), (latents > 0).sum(0))
