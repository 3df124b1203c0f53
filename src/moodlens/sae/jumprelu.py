"""JumpReLU: every latent has its own threshold, learnt with a straight-through gradient estimate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function

from moodlens.sae.model import Losses, Sae, SaeConfig, require, squared_error


@dataclass(frozen=True)
class JumpReluConfig(SaeConfig):
    """Config of JumpReLU."""

    l0: float = 1e-4  # weight of the mean number of active latents, against the squared error per dimension
    threshold: float = 0.01  # initial threshold of every latent
    bandwidth: float = 0.05  # width of the window around a threshold that contributes to its gradient

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "l0", "be zero or above", self.l0 >= 0, "Set it to 0 for no penalty")
        require(self, "threshold", "be above zero", self.threshold > 0, "Start near 0.01")
        require(self, "bandwidth", "be above zero", self.bandwidth > 0, "Start near 0.05")


class JumpReluSae(Sae):
    """latents = pre * [pre > threshold]; loss = squared error + l0 * d_in * mean_row sum [pre > threshold].

    The parameter is `threshold` itself, clamped at zero (the paper learns its logarithm), so that a saved and
    loaded SAE compares pre-activations with bit-equal thresholds.

    Source: Rajamanoharan et al. 2024, arXiv 2407.14435, equations 4, 9, 11, 12.
    """

    name = "jumprelu"

    def __init__(self, config: JumpReluConfig) -> None:
        super().__init__(config)
        self.bandwidth, self.initial_threshold = config.bandwidth, config.threshold
        self.penalty_weight = config.l0 * config.d_in
        self.b_enc = nn.Parameter(torch.zeros(config.d_sae))
        self.threshold = nn.Parameter(torch.full((config.d_sae,), config.threshold))

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_sae"]:
        pre = self.hidden(x) + self.b_enc
        return _JumpRelu.apply(pre, self.threshold, self.bandwidth)

    def losses(
        self, x: Float[Tensor, "row d_in"], dead: Int[Tensor, " latent"], penalty_share: float
    ) -> Losses:
        pre = self.hidden(x) + self.b_enc
        latents = _JumpRelu.apply(pre, self.threshold, self.bandwidth)
        active = _Active.apply(pre, self.threshold, self.bandwidth)
        error = squared_error(x, self.decode(latents))
        penalty = self.penalty_weight * active.sum(1).mean()
        return Losses(error + penalty_share * penalty, error.detach(), (latents.detach() > 0).sum(0))

    def resets(self) -> Mapping[str, float]:
        return {"b_enc": 0.0, "threshold": self.initial_threshold}

    @torch.no_grad()
    def project(self) -> None:
        super().project()
        self.threshold.clamp_min_(0.0)


def _window(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Rectangular kernel K((pre - threshold) / bandwidth): 1 within half a bandwidth of the threshold."""
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype)


class _JumpRelu(Function):
    """pre * [pre > threshold]; the threshold's gradient is -threshold / bandwidth * K."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        window = _window(pre, threshold, ctx.bandwidth)
        return grads[0] * (pre > threshold), -(threshold / ctx.bandwidth) * (grads[0] * window).sum(0), None


class _Active(Function):
    """[pre > threshold]; the threshold's gradient is -1 / bandwidth * K, `pre` has none."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        return None, -(grads[0] * _window(pre, threshold, ctx.bandwidth)).sum(0) / ctx.bandwidth, None
