"""BatchTopK: the k * n_rows largest pre-activations of a batch fire, so rows differ in active latents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from moodlens.sae.model import require
from moodlens.sae.selection import Chosen, Encoder, batch_top_k
from moodlens.sae.topk import TopKConfig, TopKSae

GUESS_SHARE = 0.7
"""First guess of a batch's cutoff, as a share of the threshold. A wrong guess only costs time."""


@dataclass(frozen=True)
class BatchTopKConfig(TopKConfig):
    """Config of BatchTopK; k is the mean number of active latents per row."""

    threshold_rate: float = 0.1  # weight of the current batch in the running threshold

    def __post_init__(self) -> None:
        super().__post_init__()
        holds = 0 < self.threshold_rate <= 1
        require(self, "threshold_rate", "be above 0 and at most 1", holds, "Start at 0.1")


class BatchTopKSae(TopKSae):
    """BatchTopK. In training, the k * n_rows largest positive pre-activations of the batch fire.

    In use, latents = pre * [pre > threshold], so that a row does not depend on its batch. The threshold is a
    running mean of the smallest value that fired in each batch.

    Source: Bussmann et al. 2024, arXiv 2412.06410; running threshold as in SAELens `BatchTopKTrainingSAE`.
    """

    name = "batchtopk"
    threshold: Tensor  # scalar

    def __init__(self, config: BatchTopKConfig) -> None:
        super().__init__(config)
        self.threshold_rate = config.threshold_rate
        self.register_buffer("threshold", torch.zeros(()))

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_sae"]:
        pre = self.hidden(x) + self.b_enc
        return pre * (pre > self.threshold)

    def choose(self, x: Float[Tensor, "row d_in"]) -> Chosen:
        """Return the entries that fire in a batch; in training mode also update the threshold."""
        encoder = Encoder(self.W_enc, self.b_enc, self.b_dec)
        chosen = batch_top_k(x, encoder, self.k, GUESS_SHARE * float(self.threshold))
        if self.training and len(chosen.values):
            smallest = chosen.values.min()
            rate = self.threshold_rate if float(self.threshold) > 0 else 1.0
            self.threshold.lerp_(smallest, rate)
        return chosen
