"""Where in a clip a latent fires most: spans of time to listen to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

HALF = 0.5
"""A span reaches as far as the smoothed activation stays above this share of its peak."""
SMOOTH_STEPS = 9


@dataclass(frozen=True)
class Moment:
    """A span of one clip around its strongest activation."""

    clip: int  # index of the clip
    start_s: float
    end_s: float
    value: float  # smoothed activation at the peak


def smoothed(values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """Return the centred moving mean over SMOOTH_STEPS steps, shorter at the ends.

    >>> smoothed(np.ones(4)).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    window = np.ones(min(SMOOTH_STEPS, len(values)))
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


def span(values: Float[np.ndarray, " step"]) -> tuple[int, int]:
    """Return the first step and the step after the last of the stretch around the maximum.

    >>> span(np.array([0.0, 3.0, 4.0, 2.5, 1.0, 4.0]))
    (1, 4)
    """
    peak = int(values.argmax())
    above = values >= HALF * values[peak]
    start = peak
    while start > 0 and above[start - 1]:
        start -= 1
    end = peak + 1
    while end < len(values) and above[end]:
        end += 1
    return start, end


def top_moments(
    values: Float[np.ndarray, " row"],
    clips: Int[np.ndarray, " row"],
    steps: Int[np.ndarray, " row"],
    frame_rate_hz: float,
    n: int,
) -> list[Moment]:
    """Return the strongest moments of a latent, one per clip, strongest first.

    Step i writes codebook 0 of frame i, so the sound of step i begins at i / frame_rate_hz.

    Args:
        values: activation at each row.
        clips: clip of each row; rows of a clip are contiguous and in order.
        steps: decoder step of each row.
        frame_rate_hz: codec frames per second.
        n: at most this many.
    """
    edges = np.flatnonzero(np.diff(clips)) + 1
    found = []
    for part in np.split(np.arange(len(values)), edges):
        curve = smoothed(values[part])
        if curve.max() <= 0:
            continue
        start, end = span(curve)
        first = steps[part[start]] / frame_rate_hz
        last = (steps[part[end - 1]] + 1) / frame_rate_hz
        found.append(Moment(int(clips[part[0]]), float(first), float(last), float(curve.max())))
    return sorted(found, key=lambda moment: -moment.value)[:n]
