"""An SAE applied to NumPy rows: its latents, its errors, and an untrained SAE as a baseline."""

from collections.abc import Callable

import numpy as np
import torch

from moodlens.sae.catalog import new_sae
from moodlens.sae.model import Sae

SEED_OFFSET = 1_000_003
"""Added to the seed of the analysis, so that the untrained baseline shares no seed with a trained SAE."""

ArrayMap = Callable[[np.ndarray], np.ndarray]
"""(row, d_in) float32 -> (row, unit)."""


def latent_map(sae: Sae) -> ArrayMap:
    """Return the function from rows to the latents of an SAE, (row, d_sae)."""

    def latents(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return sae.encode(torch.from_numpy(x)).numpy()

    return latents


def error_map(sae: Sae, mean: np.ndarray) -> ArrayMap:
    """Return the function from rows to (squared error, squared distance to `mean`), (row, 2).

    The sum of the first column over the sum of the second is the fraction of variance unexplained.
    """

    def errors(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            error = x - sae(torch.from_numpy(x)).numpy()
        return np.stack([np.square(error).sum(axis=1), np.square(x - mean).sum(axis=1)], axis=1)

    return errors


def untrained_like(sae: Sae, mean: np.ndarray, seed: int) -> Sae:
    """Return an untrained SAE with the config of `sae` and `mean` as its b_dec."""
    untrained = new_sae(sae.config, seed + SEED_OFFSET).eval().requires_grad_(False)
    with torch.no_grad():
        untrained.b_dec.copy_(torch.from_numpy(mean))
    return untrained
