"""TopK: the k largest pre-activations of a row fire; dead latents are trained on the residual (AuxK)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moodlens.sae.kernel import Firing, firing_of, reconstruction_error, sparse_decode, sparse_encode
from moodlens.sae.model import Losses, Sae, SaeConfig, require, squared_error
from moodlens.sae.selection import Chosen, Encoder, top_k


@dataclass(frozen=True)
class TopKConfig(SaeConfig):
    """Config of TopK, and base of the BatchTopK and Matryoshka configs."""

    k: int = 32  # active latents per row
    aux_k: int = 256  # dead latents per row that model the residual
    aux_share: float = 1 / 32  # weight of the squared error of that model

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "k", "be at least 1", self.k >= 1, "Raise it")
        rule = f"be at most d_sae = {self.d_sae}"
        require(self, "k", rule, self.k <= self.d_sae, "Lower k or raise d_sae")
        require(self, "aux_k", "be at least 1", self.aux_k >= 1, "Set aux_share to 0 to train without AuxK")
        require(
            self, "aux_share", "be zero or above", self.aux_share >= 0, "Set it to 0 to train without AuxK"
        )


class TopKSae(Sae):
    """latents = relu(the k largest of pre); loss = squared error + aux_share * AuxK.

    `losses` uses the sparse path. `encode` is dense and differentiable, the reference of the gradient tests.

    Source: Gao et al. 2024, arXiv 2406.04093, equations 3 and A.2 (k_aux, alpha = 1/32).
    """

    name = "topk"
    resampled_share = 1.0  # a shorter column would never be among the k largest

    def __init__(self, config: TopKConfig) -> None:
        super().__init__(config)
        self.k, self.aux_k, self.aux_share = config.k, config.aux_k, config.aux_share
        self.b_enc = nn.Parameter(torch.zeros(config.d_sae))

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_sae"]:
        pre = self.hidden(x) + self.b_enc
        top = pre.topk(self.k, dim=1, sorted=False)
        return torch.zeros_like(pre).scatter(1, top.indices, torch.relu(top.values))

    def losses(
        self, x: Float[Tensor, "row d_in"], dead: Int[Tensor, " latent"], penalty_share: float
    ) -> Losses:
        chosen = self.choose(x)
        firing = firing_of(chosen.latents, chosen.rows, len(x), self.config.d_sae)
        tensors = (self.W_enc, self.b_enc, self.b_dec, self.W_dec)
        error, residual = reconstruction_error(x, *tensors, chosen.values, firing)
        total = error + self.aux_share * self.aux_error(residual, x, dead)
        return Losses(total, error.detach(), fired_of(chosen, firing))

    def choose(self, x: Float[Tensor, "row d_in"]) -> Chosen:
        """Return the entries that fire in a batch."""
        return top_k(x, Encoder(self.W_enc, self.b_enc, self.b_dec), self.k)

    def aux_error(
        self, residual: Float[Tensor, "row d_in"], x: Float[Tensor, "row d_in"], dead: Int[Tensor, " latent"]
    ) -> Tensor:
        """Return the squared error of modelling the residual with dead latents alone; 0 if none is dead.

        The cost is proportional to the number of dead latents. b_dec gets no gradient.
        """
        if not len(dead) or not self.aux_share:
            return residual.new_zeros(())
        W_enc, b_enc, W_dec = self.W_enc.t()[dead].t(), self.b_enc[dead], self.W_dec[dead]
        b_dec = self.b_dec.detach()
        chosen = top_k(x, Encoder(W_enc, b_enc, b_dec), min(self.aux_k, len(dead)))
        firing = firing_of(chosen.latents, chosen.rows, len(x), len(dead))
        values = sparse_encode(x, W_enc, b_enc, b_dec, chosen.values, firing)
        return squared_error(residual, sparse_decode(values, W_dec, firing))


def fired_of(chosen: Chosen, firing: Firing) -> Int[Tensor, " d_sae"]:
    """Return on how many rows each latent is above zero; a chosen latent with value zero does not count."""
    if bool((chosen.values > 0).all()):
        return firing.n_fired
    d_sae = len(firing.n_fired)
    return torch.bincount(chosen.latents[chosen.values > 0], minlength=d_sae)
