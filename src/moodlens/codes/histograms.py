"""Token histograms: frequencies of a clip's audio tokens, without their order. A baseline for every state.

`token_history` and `vector_history` cover what a decoder has received up to a step: the tokens of the input
columns so far, without the pads of the delay pattern. The input of step i is column i of the delayed
sequence, so up to step i a codebook of delay k has contributed the frames 0 .. i - k - 1 (see `codes.delay`).
In stereo the two channels of a codebook share its delay.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must


def token_shares(
    codes: Int[np.ndarray, "clip codebook frame"], codebook_size: int
) -> Float[np.ndarray, "clip entry"]:
    """Return the relative frequency of every entry of every codebook, float64.

    Args:
        codes: audio tokens in [0, codebook_size).
        codebook_size: entries of one codebook.

    Returns:
        (clip, codebook * codebook_size), codebooks side by side; the shares of each codebook sum to 1.

    Raises:
        ContractError: a token lies outside the codebook, or there is no frame.

    >>> token_shares(np.array([[[0, 1, 1, 1], [2, 2, 2, 2]]]), 3).tolist()
    [[0.25, 0.75, 0.0, 0.0, 0.0, 1.0]]
    """
    n_clips, n_codebooks, n_frames = codes.shape
    if n_frames == 0 or (codes.size and not (codes.min() >= 0 and codes.max() < codebook_size)):
        got = f"{codes.min()}..{codes.max()}" if codes.size else "no frame"
        rule = f"lie in 0..{codebook_size - 1}"
        raise ContractError(must("audio tokens", rule, got, next_step="Run `dvc repro generate` again"))
    width = n_codebooks * codebook_size
    offsets = np.arange(n_clips)[:, None, None] * width + np.arange(n_codebooks)[:, None] * codebook_size
    counts = np.bincount((codes.astype(np.int64) + offsets).ravel(), minlength=n_clips * width)
    return counts.reshape(n_clips, width) / n_frames


def hellinger_histograms(
    codes: Int[np.ndarray, "clip codebook frame"], codebook_size: int
) -> Float[np.ndarray, "clip entry"]:
    """Return the square roots of `token_shares`, float64.

    The Euclidean distance of square roots is the Hellinger distance times sqrt(2). Without the root, frequent
    tokens would dominate the distance.

    >>> hellinger_histograms(np.array([[[0, 0, 1, 0]]]), 2).round(3).tolist()
    [[0.866, 0.5]]
    """
    return np.sqrt(token_shares(codes, codebook_size))


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
            out[:, k] = np.sqrt(token_shares(codes[:, k : k + 1, :n_fed], codebook_size).astype(np.float32))
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
