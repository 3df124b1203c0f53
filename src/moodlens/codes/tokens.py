"""Token histograms: what a clip says if the order of its tokens is forgotten. A baseline for every state."""

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
