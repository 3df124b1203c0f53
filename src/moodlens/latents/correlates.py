"""What latents go along with: acoustic descriptors, valence, arousal; wording by wording."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.multiplicity import benjamini_hochberg

BLOCK = 128
"""Exchanges at a time: memory is BLOCK * units * descriptors floats."""


@dataclass(frozen=True)
class Correlations:
    """Pearson correlations over wordings."""

    names: tuple[str, ...]  # of the descriptors
    r: Float[np.ndarray, "unit descriptor"]
    q: Float[np.ndarray, "unit descriptor"]  # Benjamini-Hochberg over all units and descriptors


def by_wording(
    values: Float[np.ndarray, "prompt column"], wordings: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, "wording column"]:
    """Return the mean of each wording's prompts."""
    sums = np.zeros((int(wordings.max()) + 1, values.shape[1]))
    np.add.at(sums, wordings, values)
    return sums / np.bincount(wordings)[:, None]


def standard(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    """Return columns at mean 0 and length 1; a constant column becomes 0."""
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    varies = length > 1e-12 * (np.abs(values).max(axis=0) + 1e-300)
    return centred / np.where(varies, length, np.inf)


def correlations(
    pooled: Float[np.ndarray, "prompt unit"],
    described: Float[np.ndarray, "prompt descriptor"],
    names: tuple[str, ...],
    wordings: Int[np.ndarray, " prompt"],
    n_permutations: int,
    rng: np.random.Generator,
) -> Correlations:
    """Return r over wordings and q; p from exchanging whole wordings, two-sided.

    Args:
        pooled: mean activation per prompt.
        described: descriptors per prompt (means over its clips), finite.
        names: of the descriptors.
        wordings: wording of each prompt.
        n_permutations: random exchanges beside the observed order.
        rng: of the exchanges.
    """
    units = standard(by_wording(pooled, wordings))
    traits = standard(by_wording(described, wordings))
    r = units.T @ traits
    exceed = np.ones_like(r)  # the observed order counts
    for start in range(0, n_permutations, BLOCK):
        n = min(BLOCK, n_permutations - start)
        orders = rng.permuted(np.tile(np.arange(len(traits)), (n, 1)), axis=1)
        moved = traits[orders].transpose(1, 0, 2).reshape(len(traits), -1)
        chance = np.abs(units.T @ moved).reshape(len(r), n, -1)
        exceed += (chance >= np.abs(r)[:, None] - 1e-9).sum(axis=1)
    q = benjamini_hochberg((exceed / (n_permutations + 1)).ravel()).reshape(r.shape)
    return Correlations(names, r, q)
