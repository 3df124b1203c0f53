"""Recorded states in a few float32 vectors per clip, so that later stages need not read every step again.

Means, variances and windows run over the complete steps only: in the first and the last n_codebooks - 1 steps
of the delay pattern some codebooks hold padding. Norms are kept for every step.
"""

import numpy as np
from jaxtyping import Float

from moodlens.base.errors import ContractError, must
from moodlens.contracts.tensors import WINDOW


def complete_steps(n_steps: int, n_codebooks: int) -> slice:
    """Return the steps at which every codebook puts out a token.

    >>> complete_steps(503, 4)
    slice(3, 500, None)

    Raises:
        ContractError: the clip is too short to have one.
    """
    partial = n_codebooks - 1
    if n_steps <= 2 * partial:
        rule = f"have more than {2 * partial} steps ({n_codebooks} codebooks)"
        raise ContractError(must("a clip", rule, n_steps, next_step="Raise generate.duration_s"))
    return slice(partial, n_steps - partial)


def window_steps(n_steps: int) -> int:
    """Return the length of the early and the late window, at least one step.

    >>> window_steps(197), window_steps(3)
    (20, 1)
    """
    return max(1, round(WINDOW * n_steps))


def step_norms(states: Float[np.ndarray, "clip step d_model"]) -> Float[np.ndarray, "clip step"]:
    """Return the L2 norm of every state, float32, summed in float64."""
    return np.sqrt(np.einsum("csd,csd->cs", states, states, dtype=np.float64)).astype(np.float32)


def summarise(
    states: Float[np.ndarray, "clip step d_model"], n_codebooks: int
) -> dict[str, Float[np.ndarray, "clip ..."]]:
    """Return mean, var, early, late (clip, d_model) and norm (clip, step), float32; sums run in float64.

    Args:
        states: one hookpoint and half, every decoder step.
        n_codebooks: of the delay pattern, which says what a complete step is.

    Raises:
        ContractError: the clip has no complete step.
    """
    whole = states[:, complete_steps(states.shape[1], n_codebooks)].astype(np.float64)
    edge = window_steps(whole.shape[1])
    mean = whole.mean(axis=1)
    found = {
        "mean": mean,
        "var": np.square(whole - mean[:, None]).mean(axis=1),
        "early": whole[:, :edge].mean(axis=1),
        "late": whole[:, -edge:].mean(axis=1),
        "norm": step_norms(states),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def quality(
    states: Float[np.ndarray, "clip step d_model"],
    stored: Float[np.ndarray, "clip step d_model"],
    norms: Float[np.ndarray, "clip step"],
) -> list[dict[str, float]]:
    """Return per clip the figures of the activation table, unit of the model.

    Args:
        states: as recorded, float32.
        stored: the same as written to the shard (float16 may overflow to infinity: that must show).
        norms: L2 norm per step.
    """
    finite = np.isfinite(stored).mean(axis=(1, 2))
    peak = np.abs(states).max(axis=(1, 2))
    dead = (states.max(axis=1) == states.min(axis=1)).mean(axis=1)
    change = step_change(states, norms)
    return [
        {
            "finite_fraction": float(finite[i]),
            "norm_mean": float(norms[i].mean(dtype=np.float64)),
            "norm_max": float(norms[i].max()),
            "absmax": float(peak[i]),
            "dead_fraction": float(dead[i]),
            "step_change": float(change[i]),
        }
        for i in range(len(states))
    ]


def step_change(
    states: Float[np.ndarray, "clip step d_model"], norms: Float[np.ndarray, "clip step"]
) -> Float[np.ndarray, " clip"]:
    """Return the median of |x_t - x_(t-1)| / |x_(t-1)| over steps; 0 where a state never changes.

    An overwritten hook repeats one state: 0. So does the null half of cross-attention, which is exactly zero.
    """
    if states.shape[1] < 2:
        return np.zeros(len(states))
    moved = step_norms(np.diff(states, axis=1)).astype(np.float64)
    before = norms[:, :-1].astype(np.float64)
    relative = np.divide(moved, before, out=(moved > 0).astype(np.float64), where=before > 0)
    return np.median(relative, axis=1)
