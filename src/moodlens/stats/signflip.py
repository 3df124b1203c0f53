"""Is a paired difference different from zero? The sign of every unit's difference, flipped at random.

Exact where a unit's difference is as likely to be d as -d, which is so when its two sides are exchangeable.
The unit is whole (a prompt, or a wording with all its prompts): its tests are flipped together, so maxT sees
how they hang together.
"""

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must

FEWEST_UNITS = 6
"""Below 6 units no two-sided sign-flip p can be under .05."""


def sign_flips(n_units: int, n_permutations: int, rng: np.random.Generator) -> Int[np.ndarray, "perm unit"]:
    """Return 1 + n_permutations rows of signs; the first is the observed one, all +1.

    Raises:
        ContractError: fewer units than p < .05 needs.
    """
    if n_units < FEWEST_UNITS:
        advice = "Add prompts with other wordings"
        raise ContractError(
            must("a paired comparison", f"have at least {FEWEST_UNITS} units", n_units, next_step=advice)
        )
    signs = rng.choice(np.array([-1, 1], dtype=np.int8), size=(n_permutations + 1, n_units))
    signs[0] = 1
    return signs


def smallest_flip_p(n_units: int, n_permutations: int) -> float:
    """Return the smallest two-sided p of this many units: a flip of all signs is as extreme as none.

    >>> smallest_flip_p(6, 9999)
    0.03125
    """
    return max(1 / (n_permutations + 1), 2.0 ** (1 - n_units))


def flipped_t(
    differences: Float[np.ndarray, "test unit"], signs: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "test perm"]:
    """Return |t| of the mean difference of every test under every row of signs; 0 where all are zero.

    >>> flipped_t(np.array([[1.0, 2.0, 3.0]]), np.array([[1, 1, 1], [-1, -1, -1]])).round(3).tolist()
    [[3.464, 3.464]]
    """
    n = differences.shape[1]
    mean = differences @ signs.T.astype(np.float64) / n
    squares = np.square(differences).mean(axis=1, keepdims=True)  # flips do not change it
    variance = np.maximum(squares - mean**2, np.finfo(float).eps * squares) / (n - 1)
    return np.divide(np.abs(mean), np.sqrt(variance), out=np.zeros_like(mean), where=variance > 0)
