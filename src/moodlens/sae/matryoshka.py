"""Matryoshka BatchTopK: nested dictionaries, where each prefix of the latents reconstructs on its own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.sae.batchtopk import BatchTopKConfig, BatchTopKSae
from moodlens.sae.kernel import firing_of, sparse_decode, sparse_encode
from moodlens.sae.model import Losses, require, squared_error
from moodlens.sae.topk import fired_of


@dataclass(frozen=True)
class MatryoshkaConfig(BatchTopKConfig):
    """Config of Matryoshka BatchTopK."""

    prefixes: tuple[int, ...] = ()  # ascending widths of nested dictionaries, last d_sae; () for 5 halvings

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.prefixes:
            halved = {max(1, self.d_sae >> shift) for shift in range(5)}
            object.__setattr__(self, "prefixes", tuple(sorted(halved)))
        object.__setattr__(self, "prefixes", tuple(self.prefixes))
        ascending = all(a < b for a, b in zip((0, *self.prefixes), self.prefixes, strict=False))
        rule = f"ascend from at least 1 to d_sae = {self.d_sae}"
        require(
            self,
            "prefixes",
            rule,
            ascending and self.prefixes[-1] == self.d_sae,
            "Leave it empty for halvings",
        )


class MatryoshkaSae(BatchTopKSae):
    """BatchTopK with the squared error averaged over the reconstructions of all prefixes.

    Each entry is added once, to its own group; prefixes are cumulative sums over groups.

    Source: Bussmann et al. 2025, arXiv 2503.17547, equation 4 (mean instead of sum over prefixes).
    """

    name = "matryoshka"

    def __init__(self, config: MatryoshkaConfig) -> None:
        super().__init__(config)
        self.prefixes = config.prefixes

    def losses(
        self, x: Float[Tensor, "row d_in"], dead: Int[Tensor, " latent"], penalty_share: float
    ) -> Losses:
        chosen, d_sae = self.choose(x), self.config.d_sae
        edges = torch.tensor(self.prefixes, device=x.device)
        groups = torch.bucketize(chosen.latents, edges, right=True)
        n_groups = len(self.prefixes)
        firing = firing_of(chosen.latents, chosen.rows, len(x), d_sae, groups, n_groups)
        values = sparse_encode(x, self.W_enc, self.b_enc, self.b_dec, chosen.values, firing)
        parts = sparse_decode(values, self.W_dec, firing).view(len(x), n_groups, self.config.d_in)
        recons = [part + self.b_dec for part in parts.cumsum(1).unbind(1)]
        errors = torch.stack([squared_error(x, recon) for recon in recons])
        total = errors.mean() + self.aux_share * self.aux_error((x - recons[-1]).detach(), x, dead)
        return Losses(total, errors[-1].detach(), fired_of(chosen, firing))
