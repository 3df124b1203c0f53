"""Quality of an SAE: unexplained variance, squared error, number of active latents, share of dead latents."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.base.errors import ContractError, must
from moodlens.sae.model import Sae


@dataclass(frozen=True)
class Quality:
    """Quality of an SAE on one set of rows."""

    fvu: float  # fraction of variance unexplained, 0 is perfect
    mse: float  # mean over rows and d_in of the squared error
    l0: float  # mean number of latents above zero per row
    dead: float  # share of latents that fire on none of these rows
    n_rows: int
    n_fired: Int[Tensor, " d_sae"]  # rows on which each latent is above zero


@torch.no_grad()
def fvu(acts: Float[Tensor, "row d_in"], recon: Float[Tensor, "row d_in"]) -> float:
    """Return the fraction of variance unexplained, sum|x - x_hat|^2 / sum|x - mean(x)|^2.

    Args:
        acts: activations at one hookpoint, model units.
        recon: reconstruction of `acts`, same shape.

    Raises:
        ContractError: the variance of `acts` is zero.

    Source: EleutherAI/sparsify, `SparseCoder.forward`.

    >>> fvu(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [2.0]]))
    0.5
    """
    acts, recon = acts.double(), recon.double()
    return _share(float((acts - recon).pow(2).sum()), float((acts - acts.mean(0)).pow(2).sum()))


def l0(latents: Float[Tensor, "row d_sae"]) -> float:
    """Return the mean number of latents above zero per row.

    >>> l0(torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]))
    1.0
    """
    return float((latents > 0).sum(1).double().mean())


def dead(n_fired: Int[Tensor, " d_sae"]) -> float:
    """Return the share of latents that fired on no row.

    >>> dead(torch.tensor([0, 3, 0, 1]))
    0.5
    """
    return float((n_fired == 0).double().mean())


@torch.no_grad()
def quality(sae: Sae, batches: Iterable[Float[Tensor, "row d_in"]]) -> Quality:
    """Return the quality over all rows of a stream; memory does not grow with the stream.

    Sums are float64 and relative to the first row, so that a large mean does not cancel the variance.

    Raises:
        ContractError: there is no row, the variance is zero, or the width is wrong.
    """
    d_in, d_sae = sae.config.d_in, sae.config.d_sae
    n_fired = torch.zeros(d_sae, dtype=torch.int64)
    total, n_rows, squares, errors = torch.zeros(d_in, dtype=torch.float64), 0, 0.0, 0.0
    origin: Tensor | None = None
    for batch in batches:
        latents = sae.encode(batch)
        n_fired += (latents > 0).sum(0).cpu()
        errors += float((batch - sae.decode(latents)).double().pow(2).sum())
        exact = batch.double().cpu()
        origin = exact[0] if origin is None else origin
        total += (exact - origin).sum(0)
        squares += float((exact - origin).pow(2).sum())
        n_rows += len(batch)
    if not n_rows:
        advice = "Pass the rows of a split"
        raise ContractError(must("an SAE's evaluation", "have rows", 0, next_step=advice))
    variance = squares - float(total.pow(2).sum()) / n_rows
    return Quality(
        fvu=_share(errors, variance),
        mse=errors / (n_rows * d_in),
        l0=float(n_fired.sum()) / n_rows,
        dead=dead(n_fired),
        n_rows=n_rows,
        n_fired=n_fired,
    )


def _share(errors: float, variance: float) -> float:
    if variance <= 0:
        advice = "Check for a constant hookpoint or a single row"
        raise ContractError(must("the variance of activations", "be above zero", variance, next_step=advice))
    return errors / variance
