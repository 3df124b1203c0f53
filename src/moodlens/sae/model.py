"""Base class of the sparse autoencoders: shared tensors, encoder, decoder and constraints.

Axes: `row` (one token, or one step of a clip), `d_in` (width of the hookpoint), `d_sae` (latents).

    pre = (x - b_dec) W_enc + b_enc        latents = sparse(pre) >= 0        x_hat = latents W_dec + b_dec

Rows of `W_dec` have unit norm in training. A latent's value is then the length of its contribution, and a
penalty on it cannot be avoided with a longer decoder row.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moodlens.base.errors import ContractError, UsageError, must
from moodlens.sae import compiled

MIN_NORM = 1e-12
"""Lower bound of a decoder row's length when it is normalised."""


@dataclass(frozen=True)
class SaeConfig:
    """Settings that every architecture has."""

    d_in: int  # width of the activations
    d_sae: int  # number of latents

    def __post_init__(self) -> None:
        for name in ("d_in", "d_sae"):
            require(
                self, name, "be at least 1", getattr(self, name) >= 1, "Set it to a positive whole number"
            )


@dataclass(frozen=True)
class Losses:
    """Losses of one batch."""

    total: Tensor  # scalar, minimised in training
    error: Tensor  # scalar, sum over d_in of the squared error, mean over rows
    n_fired: Int[Tensor, " d_sae"]  # rows on which each latent is above zero


class Sae(nn.Module, ABC):
    """Base class of the architectures, which add their biases, `encode` and `losses`.

    The transpose of `W_enc` is contiguous, because the sparse path reads and writes whole latents. A dense
    matrix product is equally fast with either memory order.
    """

    name: ClassVar[str]
    resampled_share: ClassVar[float] = 0.2  # length of a resampled encoder column relative to living ones
    config: SaeConfig
    W_enc: nn.Parameter  # (d_in, d_sae)
    W_dec: nn.Parameter  # (d_sae, d_in), unit rows in training
    b_dec: nn.Parameter  # (d_in,)

    def __init__(self, config: SaeConfig) -> None:
        super().__init__()
        self.config = config
        self.W_enc = nn.Parameter(torch.zeros(config.d_sae, config.d_in).t())
        self.W_dec = nn.Parameter(torch.zeros(config.d_sae, config.d_in))
        self.b_dec = nn.Parameter(torch.zeros(config.d_in))

    @abstractmethod
    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_sae"]:
        """Return the latents, dense, zero or above.

        Raises:
            ContractError: `x` has another width than `d_in`.
        """

    @abstractmethod
    def losses(
        self, x: Float[Tensor, "row d_in"], dead: Int[Tensor, " latent"], penalty_share: float
    ) -> Losses:
        """Return the losses of a batch.

        Args:
            x: rows, in the units the SAE is trained in.
            dead: dead latents, ascending; only the top-k family uses them (AuxK).
            penalty_share: factor of the sparsity penalty during its warm-up, 0 to 1.
        """

    def resets(self) -> Mapping[str, float]:
        """Return name -> value of the per-latent tensors of a new or resampled latent."""
        return {"b_enc": 0.0}

    def decode(self, latents: Float[Tensor, "row d_sae"]) -> Float[Tensor, "row d_in"]:
        """Return the reconstruction latents W_dec + b_dec."""
        return latents @ self.W_dec + self.b_dec

    def forward(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_in"]:
        """Return the reconstruction of `x`."""
        return self.decode(self.encode(x))

    def hidden(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_sae"]:
        """Return (x - b_dec) W_enc, before any bias; errors as `encode`."""
        if x.ndim != 2 or x.shape[1] != self.config.d_in:
            thing, rule = "activations", f"have shape (row, {self.config.d_in})"
            advice = "Use the SAE of this hookpoint and model"
            raise ContractError(must(thing, rule, tuple(x.shape), where="encode", next_step=advice))
        return (x - self.b_dec) @ self.W_enc

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Remove from the gradient of W_dec the component along each row, which `project` would undo.

        Source: Bricken et al. 2023, "Towards Monosemanticity", appendix; `ConstrainedAdam` of
        dictionary_learning.
        """
        gradient = self.W_dec.grad
        if gradient is not None and compiled.use_for_weight(self.W_dec):
            compiled.project_gradient(gradient, self.W_dec.detach())
        elif gradient is not None:
            along = (gradient * self.W_dec).sum(1, keepdim=True)
            gradient.addcmul_(self.W_dec, along, value=-1)

    @torch.no_grad()
    def project(self) -> None:
        """Enforce the constraints on parameters after a step: unit rows of W_dec."""
        if compiled.use_for_weight(self.W_dec):
            compiled.normalize_rows(self.W_dec.detach(), MIN_NORM)
        else:
            self.W_dec.div_(torch.linalg.vector_norm(self.W_dec, dim=1, keepdim=True).clamp_min(MIN_NORM))


def squared_error(x: Float[Tensor, "row d_in"], recon: Float[Tensor, "row d_in"]) -> Tensor:
    """Return sum over d_in of (x - x_hat)^2, mean over rows (a scalar).

    >>> float(squared_error(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)))
    2.5
    """
    return (x - recon).pow(2).sum(1).mean()


def require(config: Any, name: str, rule: str, holds: bool, next_step: str) -> None:
    """Raise a UsageError that names `<config class>.<name>` unless the rule holds."""
    if not holds:
        thing = f"{type(config).__name__}.{name}"
        raise UsageError(must(thing, rule, getattr(config, name), next_step=next_step))


def config_values(config: SaeConfig) -> dict[str, Any]:
    """Return the fields of a config as JSON values, with tuples as lists."""
    values = {spec.name: getattr(config, spec.name) for spec in fields(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
