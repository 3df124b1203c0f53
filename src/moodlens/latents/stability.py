"""Whether the same latents come back when only the training seed changes: matching of decoder rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

THRESHOLDS = (0.7, 0.9)
"""Decoder cosines above which two latents count as the same."""
MOST_MATCHED = 4096
"""Maximum number of latents that are matched; the Hungarian algorithm takes cubic time."""


@dataclass(frozen=True)
class Stability:
    """Agreement of an SAE with SAEs trained from other seeds."""

    cosine: Float[np.ndarray, " latent"]  # mean matched cosine over the other seeds; NaN where not matched
    shares: dict[str, float]  # stable_70, stable_90, and each with suffix _random for random decoders


def stability(
    decoder: Float[np.ndarray, "latent d_in"],
    others: Sequence[Float[np.ndarray, "other_latent d_in"]],
    activation: Float[np.ndarray, " latent"],
    rng: np.random.Generator,
) -> Stability:
    """Return how well the most active latents are matched by the decoders of other seeds.

    Args:
        decoder: W_dec of the SAE.
        others: W_dec of the SAEs from other seeds; none gives NaN cosines and no shares.
        activation: total activation of each latent, zero or above.
        rng: draws the random decoders that show what matching yields by chance.
    """
    d_sae, d_in = decoder.shape
    cosine = np.full(d_sae, np.nan)
    matched = most_active(activation, MOST_MATCHED)
    if not others or not len(matched):
        return Stability(cosine, {})
    cosines = np.stack([matched_cosines(decoder[matched], other) for other in others])
    cosine[matched] = cosines.mean(axis=0)
    chance = matched_cosines(random_decoder(len(matched), d_in, rng), random_decoder(d_sae, d_in, rng))
    shares = {}
    for threshold in THRESHOLDS:
        name = f"stable_{100 * threshold:.0f}"
        shares[name] = float((cosines > threshold).mean())
        shares[f"{name}_random"] = float((chance > threshold).mean())
    return Stability(cosine, shares)


def agreement(
    decoders: Sequence[Float[np.ndarray, "latent d_in"]],
    activations: Sequence[Float[np.ndarray, " latent"]],
) -> dict[str, Float[np.ndarray, "seed seed"]]:
    """Return the share of a seed's latents that have a partner in another seed, for each of `THRESHOLDS`.

    Row: the seed whose latents are counted. Column: the other seed. The most active latents of both are
    matched once per pair. The diagonal is 1.

    Args:
        decoders: W_dec of each seed.
        activations: total activation of each seed's latents.
    """
    kept = [most_active(activation, MOST_MATCHED) for activation in activations]
    shares = {f"stable_{100 * threshold:.0f}": np.eye(len(decoders)) for threshold in THRESHOLDS}
    for i, j in combinations(range(len(decoders)), 2):
        if not len(kept[i]) or not len(kept[j]):
            continue
        cosines = matched_cosines(decoders[i][kept[i]], decoders[j][kept[j]])
        for threshold, matrix in zip(THRESHOLDS, shares.values(), strict=True):
            n = int((cosines > threshold).sum())
            matrix[i, j], matrix[j, i] = n / len(kept[i]), n / len(kept[j])
    return shares


def matched_cosines(
    one: Float[np.ndarray, "latent d_in"], other: Float[np.ndarray, "other_latent d_in"]
) -> Float[np.ndarray, " latent"]:
    """Return each latent's decoder cosine with its partner in another SAE (Hungarian matching).

    Every latent has at most one partner. A latent without a partner gets -1, which happens when `other` has
    fewer latents.

    Source: Paulo and Belrose 2025, arXiv 2501.16615, who match SAEs of several seeds this way.

    >>> matched_cosines(np.eye(2), np.eye(2)[::-1]).tolist()
    [1.0, 1.0]
    """
    cosines = unit_rows(one) @ unit_rows(other).T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    matched = np.full(len(one), -1.0)
    matched[rows] = cosines[rows, columns]
    return matched


def unit_rows(rows: Float[np.ndarray, "row d_in"]) -> Float[np.ndarray, "row d_in"]:
    """Return the rows scaled to length 1; rows of zeros stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def random_decoder(n: int, d_in: int, rng: np.random.Generator) -> Float[np.ndarray, "latent d_in"]:
    """Return `n` directions drawn uniformly from the unit sphere, the chance baseline of matching."""
    return unit_rows(rng.standard_normal((n, d_in)))


def most_active(activation: np.ndarray, n: int) -> Int[np.ndarray, " latent"]:
    """Return the ascending indices of the `n` most active latents, without those that never fire."""
    order = np.argsort(-activation, kind="stable")[:n]
    return np.sort(order[activation[order] > 0])
