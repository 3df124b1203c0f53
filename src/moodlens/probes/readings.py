"""The generated music as vectors that a probe can read: audio-token histograms."""

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must


def token_histograms(
    codes: Int[np.ndarray, "clip codebook frame"], codebook_size: int
) -> Float[np.ndarray, "clip dim"]:
    """Return the square roots of each clip's token frequencies, codebooks side by side.

    Square roots make Euclidean distance the Hellinger distance, so that frequent tokens do not own it.

    Raises:
        ContractError: a token lies outside 0..codebook_size-1.

    >>> token_histograms(np.array([[[0, 0, 1, 0]]]), 2).round(3).tolist()
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
