"""Do the same latents come back when only the seed changes?"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

THRESHOLDS = (0.7, 0.9)
"""Decoder cosines above which two latents count as the same."""


def matched_cosines(
    one: Float[np.ndarray, "latent d_in"], other: Float[np.ndarray, "other_latent d_in"]
) -> Float[np.ndarray, " latent"]:
    """Return each latent's decoder cosine with its partner in another SAE, one partner each (Hungarian).

    With fewer partners than latents the rest get -1.

    Source: Paulo and Belrose 2025, arXiv 2501.16615, who match SAEs of several seeds this way.

    >>> matched_cosines(np.eye(2), np.eye(2)[::-1]).tolist()
    [1.0, 1.0]
    """
    cosines = unit_rows(one) @ unit_rows(other).T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    found = np.full(len(one), -1.0)
    found[rows] = cosines[rows, columns]
    return found


def unit_rows(rows: Float[np.ndarray, "row d_in"]) -> Float[np.ndarray, "row d_in"]:
    """Return the rows at length 1; zero rows stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def random_decoder(n: int, d_in: int, rng: np.random.Generator) -> Float[np.ndarray, "latent d_in"]:
    """Return directions drawn uniformly from the sphere: what chance makes of matching."""
    return unit_rows(rng.standard_normal((n, d_in)))


def most_used(firing: np.ndarray, n: int) -> np.ndarray:
    """Return the indices, ascending, of the `n` latents that fire most; never one that does not fire."""
    order = np.argsort(-firing, kind="stable")[:n]
    return np.sort(order[firing[order] > 0])
