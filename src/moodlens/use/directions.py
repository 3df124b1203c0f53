"""Directions of a place: the subspace that tells two emotions apart, and random directions as its null.

Both are fitted on the rows of the half that chose the place: units that are tested had no part in them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.base.errors import Unsupported, UsageError, must

TINY = 1e-6
"""Singular values, and lengths after a projection, below this share of the largest count as zero."""


@dataclass(frozen=True)
class Displacement:
    """How far the text moves the states of one row at one hookpoint, the tokens of c_one being fed."""

    gap: Float[np.ndarray, " width"]  # mean over steps of (states under text one - under text other)
    within: Float[np.ndarray, " width"]  # likewise with another wording of the first emotion
    norm: float  # root mean square over steps of the length of (under text one - under text other)


def displacement(
    one: Float[np.ndarray, "step width"],
    other: Float[np.ndarray, "step width"],
    donor: Float[np.ndarray, "step width"],
) -> Displacement:
    """Return the displacement between the states of the same tokens under three texts."""
    wide = [np.asarray(states, dtype=np.float64) for states in (one, other, donor)]
    gap, within = wide[0] - wide[1], wide[0] - wide[2]
    norm = float(np.sqrt(np.square(gap).sum(axis=1).mean()))
    return Displacement(gap.mean(axis=0), within.mean(axis=0), norm)


def emotion_basis(
    gaps: Float[np.ndarray, "row width"], n_directions: int
) -> Float[np.ndarray, "direction width"]:
    """Return orthonormal rows that span the leading right singular vectors of the gaps, float32.

    The gaps are not centred: their mean is the emotion's direction. There are fewer than `n_directions` rows
    where the gaps span fewer dimensions.

    Args:
        gaps: a displacement per row.
        n_directions: at most.

    Raises:
        UsageError: no direction is asked for.
        Unsupported: all gaps are zero: the text moves no state here.
    """
    if n_directions < 1:
        advice = "Ask for one direction or more"
        raise UsageError(must("n_directions of a basis", "be at least 1", n_directions, next_step=advice))
    _, sizes, rows = np.linalg.svd(np.asarray(gaps, dtype=np.float64), full_matrices=False)
    if not sizes[0] > 0:
        advice = "Choose a hookpoint that the text reaches"
        raise Unsupported(must("gaps between emotions", "not all be zero", "zeros", next_step=advice))
    rank = int((sizes > TINY * sizes[0]).sum())
    return rows[: min(n_directions, rank)].astype(np.float32)


def null_vectors(
    within: Float[np.ndarray, "row width"],
    basis: Float[np.ndarray, "direction width"],
    norm: float,
    n_draws: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw width"]:
    """Return random directions in which wordings of one emotion differ, without the emotion's, float32.

    A draw is a Gaussian combination of the rows of `within`, so its covariance is their second moment. It is
    projected off the basis and scaled.

    Args:
        within: displacements between two wordings of one emotion.
        basis: orthonormal rows, from `emotion_basis`.
        norm: length of every vector, that of the exchange's displacement.
        n_draws: how many.
        rng: source of randomness.

    Raises:
        Unsupported: `within` is zero, or nothing of it is left outside the basis.
    """
    spread = np.asarray(within, dtype=np.float64)
    largest = float(np.linalg.norm(spread, axis=1).max())
    advice = "Choose a hookpoint at which the wordings of an emotion differ"
    if not largest > 0:
        raise Unsupported(
            must("displacements within an emotion", "not all be zero", "zeros", next_step=advice)
        )
    plane = np.asarray(basis, dtype=np.float64)
    outside = spread - spread @ plane.T @ plane
    if np.linalg.norm(outside, axis=1).max() <= TINY * largest:
        rule = "have a part outside the emotion's directions"
        raise Unsupported(
            must("displacements within an emotion", rule, f"rank 0 outside {len(plane)}", next_step=advice)
        )
    draws = rng.standard_normal((n_draws, len(outside))) @ outside
    return (draws * (norm / np.linalg.norm(draws, axis=1, keepdims=True))).astype(np.float32)
