"""What uniform attention gives: the reference of entropy and distance."""

import numpy as np
from jaxtyping import Float, Int


def relative_entropy(
    entropy: Float[np.ndarray, "clip *rest"], n_tokens: Int[np.ndarray, " clip"]
) -> Float[np.ndarray, "clip *rest"]:
    """Return entropy over ln(n_tokens): 1 is uniform over the prompt, 0 a single token.

    >>> relative_entropy(np.array([np.log(2)]), np.array([4])).round(12).tolist()
    [0.5]
    """
    return entropy / np.log(np.maximum(n_tokens, 2)).reshape(-1, *[1] * (entropy.ndim - 1))


def uniform_distance(n_steps: int) -> Float[np.ndarray, " step"]:
    """Return the mean distance, in steps, of uniform attention over the steps so far: step / 2.

    >>> uniform_distance(3).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.arange(n_steps) / 2


def uniform_self_entropy(n_steps: int) -> Float[np.ndarray, " step"]:
    """Return the entropy, in nats, of uniform attention over the steps so far: ln(step + 1)."""
    return np.log(np.arange(n_steps) + 1.0)


def time_bins(n_steps: int, n_bins: int) -> Int[np.ndarray, " step"]:
    """Return the bin of each step, at most n_bins nearly equal ones.

    >>> time_bins(5, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    return np.arange(n_steps) * min(n_bins, n_steps) // n_steps
