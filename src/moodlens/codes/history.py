"""What a decoder has been fed by a step: the tokens of the input columns up to it, without the delay's pads.

The input of step i is column i of the delayed sequence, so by step i a codebook of delay k has brought the
frames 0 .. i - k - 1 (see `codes.delay`); in stereo the two channels of a codebook share its delay.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from moodlens.codes.tokens import token_histograms


def frames_fed(step: int, delay: int, n_frames: int) -> int:
    """Return how many frames of a codebook of this delay were inputs up to and including a step.

    >>> [frames_fed(3, k, 200) for k in range(4)], frames_fed(202, 0, 200)
    ([3, 2, 1, 0], 200)
    """
    return min(max(step - delay, 0), n_frames)


def token_history(
    codes: Int[np.ndarray, "clip codebook frame"], step: int, codebook_size: int, n_channels: int = 1
) -> Float[np.ndarray, "clip entry"]:
    """Return the square roots of the token frequencies fed up to a step, 0 where a codebook brought none.

    Args:
        codes: audio tokens in [0, codebook_size).
        step: decoder step.
        codebook_size: entries of one codebook.
        n_channels: 2 where the codebooks of left and right alternate.
    """
    n_clips, n_codebooks, n_frames = codes.shape
    out = np.zeros((n_clips, n_codebooks, codebook_size), dtype=np.float32)
    for k in range(n_codebooks):
        n_fed = frames_fed(step, k // n_channels, n_frames)
        if n_fed:
            out[:, k] = token_histograms(codes[:, k : k + 1, :n_fed], codebook_size, root=True)
    return out.reshape(n_clips, -1)


def vector_history(
    vectors: Float[np.ndarray, "clip codebook frame dim"], steps: Sequence[int], n_channels: int = 1
) -> Float[np.ndarray, "clip kept dim"]:
    """Return the mean vector of the tokens fed up to each step, codebooks summed, float32.

    Args:
        vectors: the codec's vector of every token.
        steps: decoder steps.
        n_channels: see `token_history`.
    """
    n_clips, n_codebooks, n_frames, d_codec = vectors.shape
    out = np.zeros((n_clips, len(steps), d_codec))
    for i, step in enumerate(steps):
        for k in range(n_codebooks):
            n_fed = frames_fed(step, k // n_channels, n_frames)
            if n_fed:
                out[:, i] += vectors[:, k, :n_fed].mean(axis=1, dtype=np.float64)
    return out.astype(np.float32)
