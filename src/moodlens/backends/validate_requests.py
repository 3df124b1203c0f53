"""What may be asked of any backend: the checks that do not depend on the library behind it."""

from collections.abc import Sequence

import numpy as np

from moodlens.base.errors import UsageError, must
from moodlens.contracts.backend import ClipRequest, ModelInfo, Sampling


def check_requests(requests: Sequence[ClipRequest], sampling: Sampling) -> None:
    """Check that there is something to generate.

    Raises:
        UsageError: there are no clips, or no frames.
    """
    if not requests or sampling.n_frames < 1:
        got = f"{len(requests)} clips, {sampling.n_frames} frames"
        raise UsageError(must("a request", "ask for clips and frames", got, next_step="Add prompts"))


def check_codes(codes: np.ndarray, n_texts: int, info: ModelInfo) -> None:
    """Check tokens against the model and the texts beside them.

    Args:
        codes: (clip, codebook, frame).
        n_texts: clips that there should be.
        info: of the model that reads the tokens.

    Raises:
        UsageError: the shape is another, or a token lies outside the codebook.
    """
    if codes.ndim != 3 or codes.shape[0] != n_texts or codes.shape[1] != info.n_codebooks:
        rule = f"have the shape ({n_texts} clips, {info.n_codebooks} codebooks, frames)"
        raise UsageError(must("codes", rule, codes.shape, next_step="Give one text per clip"))
    if codes.size and not (codes.min() >= 0 and codes.max() < info.codebook_size):
        rule = f"lie in 0..{info.codebook_size - 1}"
        got = f"{codes.min()}..{codes.max()}"
        raise UsageError(must("codes", rule, got, next_step="Undo the delay pattern before re-encoding"))
