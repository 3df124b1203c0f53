"""Reconstructions with and without the selective latents, as inputs of probes."""

import numpy as np
from jaxtyping import Bool, Float


def reconstructions(
    latents: Float[np.ndarray, "prompt latent"],
    W_dec: Float[np.ndarray, "latent d_in"],
    b_dec: Float[np.ndarray, " d_in"],
    selective: Bool[np.ndarray, " latent"],
) -> dict[str, Float[np.ndarray, "prompt d_in"]]:
    """Return `reconstruction` and, if some but not all latents are selective, two ablated ones.

    `without_selective` sets the selective latents to zero. Selective latents were chosen with all labels, so
    its accuracy has to be compared with `without_others`, which sets as many other latents of matched mean
    activation to zero. Reconstruction is linear in the latents: the mean reconstruction of a prompt is the
    reconstruction of its mean latents.
    """
    results = {"reconstruction": latents @ W_dec + b_dec}
    if selective.any() and not selective.all():
        others = matched_others(latents.mean(axis=0), selective)
        results["without_selective"] = np.where(selective, 0, latents) @ W_dec + b_dec
        results["without_others"] = np.where(others, 0, latents) @ W_dec + b_dec
    return results


def matched_others(
    activation: Float[np.ndarray, " latent"], selective: Bool[np.ndarray, " latent"]
) -> Bool[np.ndarray, " latent"]:
    """Return a mask of as many other latents, each the nearest in mean activation that is still free.

    The match is greedy, most active selective latent first.
    """
    free = list(np.flatnonzero(~selective))
    matched = np.zeros_like(selective)
    for latent in np.flatnonzero(selective)[np.argsort(-activation[selective], kind="stable")]:
        if not free:
            break
        nearest = min(free, key=lambda other: abs(activation[other] - activation[latent]))
        free.remove(nearest)
        matched[nearest] = True
    return matched
