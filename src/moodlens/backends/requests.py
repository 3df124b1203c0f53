"""Checks of what a backend is given, and rules of how it runs a request.

Nothing here depends on a model library, so `moodlens.forecast` applies the same rules without loading one.
"""

from collections.abc import Sequence

import numpy as np

from moodlens.base.axes import HALVES
from moodlens.base.errors import UsageError, must
from moodlens.contracts.backend import Capture, ClipRequest, ModelInfo, Sampling

PACKED_WIDTH, PACKED_BYTES = 512, 2_000_000_000
"""Smallest d_model and largest number of weight bytes for which packing pays. Narrower decoders gain nothing,
and a second copy of larger weights takes too much memory."""


def check_prompt(text: str) -> None:
    """Check that a prompt is not blank.

    Raises:
        UsageError: it holds only white space.
    """
    if not text.strip():
        advice = "Null text is None, not an empty prompt"
        raise UsageError(must("a prompt", "hold words", text, next_step=advice))


def check_requests(requests: Sequence[ClipRequest], sampling: Sampling) -> None:
    """Check that there is something to generate.

    Raises:
        UsageError: there are no clips, or no frames.
    """
    if not requests or sampling.n_frames < 1:
        got = f"{len(requests)} clips, {sampling.n_frames} frames"
        raise UsageError(must("a request", "ask for clips and frames", got, next_step="Add prompts"))


def check_codes(codes: np.ndarray, n_texts: int, info: ModelInfo) -> None:
    """Check audio tokens against the model and the number of texts.

    Args:
        codes: (clip, codebook, frame).
        n_texts: expected number of clips.
        info: of the model that reads the tokens.

    Raises:
        UsageError: the shape differs, or a token lies outside the codebook.
    """
    if codes.ndim != 3 or codes.shape[0] != n_texts or codes.shape[1] != info.n_codebooks:
        rule = f"have the shape ({n_texts} clips, {info.n_codebooks} codebooks, frames)"
        raise UsageError(must("codes", rule, codes.shape, next_step="Give one text per clip"))
    if codes.size and not (codes.min() >= 0 and codes.max() < info.codebook_size):
        rule = f"lie in 0..{info.codebook_size - 1}"
        got = f"{codes.min()}..{codes.max()}"
        raise UsageError(must("codes", rule, got, next_step="Undo the delay pattern before re-encoding"))


def captured_halves(capture: Capture) -> tuple[str, ...]:
    """Return the halves that a capture records.

    >>> captured_halves(Capture(half="both"))
    ('cond', 'uncond')

    Raises:
        UsageError: there is no such half.
    """
    if capture.half not in (*HALVES, "both"):
        rule = "be cond, uncond or both"
        raise UsageError(must("generate.half", rule, capture.half, next_step="Correct it"))
    return HALVES if capture.half == "both" else (capture.half,)


def halves_run(guidance_scale: float, half: str) -> tuple[str, ...]:
    """Return the halves that every decoder step runs.

    The unconditional half (null text) runs under guidance, or when it is recorded.

    Args:
        guidance_scale: scale of classifier-free guidance; 1 is no guidance.
        half: the recorded half, see `Capture.half`.

    >>> halves_run(1, "cond"), halves_run(3, "cond"), halves_run(1, "uncond")
    (('cond',), ('cond', 'uncond'), ('cond', 'uncond'))
    """
    return HALVES if guidance_scale != 1 or half != "cond" else ("cond",)


def packing_pays(dtype: str, d_model: int, n_bytes: int) -> bool:
    """Say whether generation on the CPU uses packed weights, see `backends.musicgen.packed`.

    Args:
        dtype: of the weights.
        d_model: of the decoder.
        n_bytes: of the weights that would be held a second time.
    """
    return dtype == "float32" and d_model >= PACKED_WIDTH and n_bytes <= PACKED_BYTES
