"""Decoder steps in short windows, and their means: what the step sweep compares."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must


@dataclass(frozen=True)
class Windows:
    """Neighbouring windows of complete steps, all of `width` steps; the last few steps may be left over."""

    starts: Int[np.ndarray, " window"]  # first step of each window, counted from the first complete step
    width: int  # steps
    first: int  # decoder step of the first complete step

    def times_s(self, rate_hz: float) -> Float[np.ndarray, " window"]:
        """Return the centre of each window in seconds of decoding."""
        return (self.first + self.starts + (self.width - 1) / 2) / rate_hz


def windows(n_steps: int, first: int, width: int) -> Windows:
    """Return the windows of `n_steps` complete steps.

    Args:
        n_steps: complete steps of a clip.
        first: decoder step of the first of them (the partial steps of the delay pattern come before).
        width: steps of a window; 1 is every step.

    Raises:
        ContractError: fewer than two windows.

    >>> windows(9, 3, 4).starts.tolist(), windows(9, 3, 4).times_s(50.0).tolist()
    ([0, 4], [0.09, 0.17])
    """
    if n_steps < 2 * width:
        rule = f"hold at least 2 windows of {width} steps"
        advice = "Lower temporal.steps_per_window or raise generate.duration_s"
        raise ContractError(must("a clip", rule, f"{n_steps} complete steps", next_step=advice))
    return Windows(np.arange(0, n_steps - width + 1, width), width, first)


def window_means(
    states: Float[np.ndarray, "clip step d_model"], places: Windows
) -> Float[np.ndarray, "clip window d_model"]:
    """Return the mean state of each window.

    >>> states = np.array([[[1.0], [3.0], [5.0], [7.0]]])
    >>> window_means(states, windows(4, 0, 2)).ravel().tolist()
    [2.0, 6.0]
    """
    n_clips, _, width = states.shape
    kept = states[:, : len(places.starts) * places.width]
    return kept.reshape(n_clips, len(places.starts), places.width, width).mean(axis=2)
