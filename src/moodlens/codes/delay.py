"""The delay pattern of MusicGen: codebook k is written k steps later than codebook 0.

Decoder input column i + 1 holds the output of step i; column 0 is the start token. The state at step i
therefore predicts codebook k of frame i - k, and F frames of K codebooks take F + K - 1 steps.

        step        0   1   2   3   4
    column  0   1   2   3   4   5
    k = 0   P   a0  a1  a2  P   P          P = pad_id, the start token of MusicGen
    k = 1   P   P   b0  b1  b2  P
    k = 2   P   P   P   c0  c1  c2

In stereo the codebooks of left and right alternate and share a delay: codebook k has delay k // 2.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from moodlens.base.errors import ContractError, must


def apply_delay(
    codes: Int[Tensor, "clip codebook frame"], pad_id: int, n_channels: int = 1
) -> Int[Tensor, "clip codebook column"]:
    """Return the decoder's token sequence: codebook k shifted right by k + 1 columns, the rest `pad_id`.

    Args:
        codes: audio tokens, integers below `pad_id`.
        pad_id: the start and padding token (MusicGen: the codebook size).
        n_channels: audio channels whose codebooks alternate.

    Returns:
        (clip, codebook, column) with frame + delay columns: the input of step i is column i, its
        target column i + 1.

    Source: audiocraft `DelayedPatternProvider`; equal to transformers `build_delay_pattern_mask`.

    >>> apply_delay(torch.tensor([[[1, 2], [3, 4]]]), pad_id=9).tolist()
    [[[9, 1, 2, 9], [9, 9, 3, 4]]]
    """
    n_clips, n_codebooks, n_frames = codes.shape
    delayed = codes.new_full((n_clips, n_codebooks, n_frames + n_codebooks // n_channels), pad_id)
    for k in range(n_codebooks):
        first = k // n_channels + 1
        delayed[:, k, first : first + n_frames] = codes[:, k]
    return delayed


def undo_delay(
    delayed: Int[Tensor, "clip codebook column"], n_channels: int = 1
) -> Int[Tensor, "clip codebook frame"]:
    """Return the audio tokens of a complete token sequence, start column included.

    Raises:
        ContractError: the sequence is too short for one frame.

    >>> undo_delay(torch.tensor([[[9, 1, 2, 9], [9, 9, 3, 4]]])).tolist()
    [[[1, 2], [3, 4]]]
    """
    _, n_codebooks, n_columns = delayed.shape
    n_delays = n_codebooks // n_channels
    n_frames = n_columns - n_delays
    if n_frames < 1:
        raise ContractError(
            must(
                "a delayed token sequence",
                f"have more than {n_delays} columns ({n_codebooks} codebooks)",
                n_columns,
                next_step="Generate more steps, start column included",
            )
        )
    firsts = [k // n_channels + 1 for k in range(n_codebooks)]
    return torch.stack([delayed[:, k, first : first + n_frames] for k, first in enumerate(firsts)], dim=1)
