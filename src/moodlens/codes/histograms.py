"""Token histograms: what a clip says if the order of its tokens is forgotten. A baseline for every state.

What a decoder has been fed by a step: the tokens of the input columns up to it, without the delay's pads.

The input of step i is column i of the delayed sequence, so by step i a codebook of delay k has brought the
frames 0 .. i - k - 1 (see `codes.delay`); in stereo the two channels of a codebook share its delay.

The generated music as vectors that a probe can read: audio-token histograms.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must


def token_histograms(
    codes: Int[np.ndarray, "clip codebook frame"], codebook_size: int, *, root: bool = False
) -> Float[np.ndarray, "clip entry"]:
    """Return the relative frequency of every entry of every codebook, float32.

    Args:
        codes: audio tokens in [0, codebook_size).
        codebook_size: entries of one codebook.
        root: take square roots, so that Euclidean distance becomes Hellinger distance (times sqrt 2).

    Returns:
        (clip, codebook * codebook_size); each codebook's share sums to 1 before the root.

    Raises:
        ContractError: a token lies outside the codebook, or there is no frame.

    >>> token_histograms(np.array([[[0, 1, 1, 1], [2, 2, 2, 2]]]), 3).tolist()
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
    shares = (counts.reshape(n_clips, width) / n_frames).astype(np.float32)
    return np.sqrt(shares) if root else shares


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


def hellinger_histograms(
    codes: Int[np.ndarray, "clip codebook frame"], codebook_size: int
) -> Float[np.ndarray, "clip dim"]:
    """Return the square roots of each clip's token frequencies, codebooks side by side.

    Square roots make Euclidean distance the Hellinger distance, so that frequent tokens do not own it.

    Raises:
        ContractError: a token lies outside 0..codebook_size-1.

    >>> hellinger_histograms(np.array([[[0, 0, 1, 0]]]), 2).round(3).tolist()
    [[0.866, 0.5]]
    """
    if codes.min() < 0 or codes.max() >= codebook_size:
        got = f"{codes.min()}..{codes.max()}"
        raise ContractError(
            must(
                "audio tokens",
                f"lie in 0..{codebook_size - 1}",
                got,
                next_step="Make the codes again with `dvc repro`",
            )
        )
    n_clips, n_codebooks, n_frames = codes.shape
    bins = n_codebooks * codebook_size
    shift = np.arange(n_codebooks)[:, None] * codebook_size + np.arange(n_clips)[:, None, None] * bins
    counts = np.bincount((codes.astype(np.int64) + shift).ravel(), minlength=n_clips * bins)
    return np.sqrt(counts.reshape(n_clips, bins) / n_frames)


def range_of_medians(
    values: Float[np.ndarray, " clip"], labels: Int[np.ndarray, " clip"]
) -> tuple[float, int, int]:
    """Return the largest difference between emotions' medians, with the slowest and the fastest emotion.

    >>> range_of_medians(np.array([60.0, 70.0, 120.0, 122.0]), np.array([0, 0, 1, 1]))
    (56.0, 0, 1)
    """
    medians = np.array([np.median(values[labels == k]) for k in range(labels.max() + 1)])
    return float(medians.max() - medians.min()), int(medians.argmin()), int(medians.argmax())
