"""Gated: one path decides which latents fire and another how strongly, so the penalty shrinks no value."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moodlens.sae.model import Losses, Sae, SaeConfig, require, squared_error


@dataclass(frozen=True)
class GatedConfig(SaeConfig):
    """Config of Gated."""

    l1: float = 1e-3  # weight of the L1 norm of the gate's positive part, against the error per dimension

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "l1", "be zero or above", self.l1 >= 0, "Set it to 0 for no penalty")


class GatedSae(Sae):
    """latents = [gate > 0] * relu(magnitude), over one shared product h = (x - b_dec) W_enc:

        gate = h + b_gate        magnitude = h * exp(r_mag) + b_mag

    loss = squared error + l1 * d_in * mean_row sum relu(gate) + squared error of relu(gate) through a frozen
    decoder. The last term trains the gate.

    Source: Rajamanoharan et al. 2024, arXiv 2404.16014, equations 5 to 8.
    """

    name = "gated"

    def __init__(self, config: GatedConfig) -> None:
        super().__init__(config)
        self.penalty_weight = config.l1 * config.d_in
        self.b_gate = nn.Parameter(torch.zeros(config.d_sae))
        self.b_mag = nn.Parameter(torch.zeros(config.d_sae))
        self.r_mag = nn.Parameter(torch.zeros(config.d_sae))

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_sae"]:
        return self._paths(x)[1]

    def losses(
        self, x: Float[Tensor, "row d_in"], dead: Int[Tensor, " latent"], penalty_share: float
    ) -> Losses:
        gate, latents = self._paths(x)
        gated = torch.relu(gate)
        error = squared_error(x, self.decode(latents))
        gate_error = squared_error(x, gated @ self.W_dec.detach() + self.b_dec.detach())
        penalty = self.penalty_weight * gated.sum(1).mean()
        return Losses(
            error + penalty_share * penalty + gate_error, error.detach(), (latents.detach() > 0).sum(0)
        )

    def resets(self) -> Mapping[str, float]:
        return {"b_gate": 0.0, "b_mag": 0.0, "r_mag": 0.0}

    def _paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The gate before the step function, and the latents."""
        hidden = self.hidden(x)
        gate = hidden + self.b_gate
        magnitude = torch.relu(hidden * torch.exp(self.r_mag) + self.b_mag)
        return gate, (gate > 0) * magnitude
