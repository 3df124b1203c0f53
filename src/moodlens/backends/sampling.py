"""Drawing tokens: guidance, filters, and noise that is a function of (clip seed, step, codebook) alone."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.contracts.backend import Sampling


def clip_uniforms(seed_key: int, n_steps: int, n_codebooks: int) -> Float[np.ndarray, "step codebook"]:
    """Return the uniform numbers of one clip, float32 in [0, 1).

    Number (step, codebook) is entry `step * n_codebooks + codebook` of the counter-based Philox stream keyed
    by the clip's seed: it depends on neither the batch nor the shard nor the length of the clip.

    >>> import numpy as np
    >>> bool(np.array_equal(clip_uniforms(7, 3, 4), clip_uniforms(7, 9, 4)[:3]))
    True
    """
    stream = np.random.Generator(np.random.Philox(key=seed_key))
    return stream.random((n_steps, n_codebooks), dtype=np.float32)


def guided(
    cond: Float[Tensor, "clip codebook entry"], uncond: Float[Tensor, "clip codebook entry"], scale: float
) -> Float[Tensor, "clip codebook entry"]:
    """Return uncond + scale * (cond - uncond): classifier-free guidance on logits.

    Source: transformers `ClassifierFreeGuidanceLogitsProcessor` (same order of operations, same bits).
    """
    return uncond + (cond - uncond) * scale


def draw_tokens(
    logits: Float[Tensor, "clip codebook entry"], uniforms: Float[Tensor, "clip codebook"], sampling: Sampling
) -> Int[Tensor, "clip codebook"]:
    """Return one token per clip and codebook.

    Temperature 0 takes the likeliest entry. Otherwise: divide by the temperature, keep the top_k likeliest,
    keep the smallest set whose probability reaches top_p, and invert the cumulative distribution at
    `uniforms` (in the order of the codebook: the last bit of a logit moves a token only on a border).

    Source: order of the filters as in transformers `generate`.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    scaled = logits / sampling.temperature
    if 0 < sampling.top_k < scaled.shape[-1]:
        weakest = scaled.topk(sampling.top_k).values[..., -1:]
        scaled = scaled.masked_fill(scaled < weakest, -torch.inf)
    if 0 < sampling.top_p < 1:
        scaled = _nucleus(scaled, sampling.top_p)
    cumulative = scaled.softmax(-1).cumsum(-1)
    total = cumulative[..., -1:]
    # u * total may round up to total, which no entry exceeds: stay one float below it
    target = torch.minimum(uniforms.unsqueeze(-1) * total, torch.nextafter(total, torch.zeros_like(total)))
    return (cumulative <= target).sum(-1)


def _nucleus(
    scaled: Float[Tensor, "clip codebook entry"], top_p: float
) -> Float[Tensor, "clip codebook entry"]:
    """Return the logits with everything outside the smallest set of probability >= top_p at -inf."""
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    outside = probability.cumsum(-1) - probability >= top_p  # the likeliest has no mass before it: it stays
    return scaled.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)


def block_uniforms(
    seed_keys: Sequence[int], n_clips: int, n_steps: int, n_codebooks: int
) -> Float[Tensor, "clip step codebook"]:
    """Return the uniforms of a block of `n_clips` clips; clips beyond the keys are padding and get zeros."""
    numbers = np.zeros((n_clips, n_steps, n_codebooks), dtype=np.float32)
    for i, seed_key in enumerate(seed_keys):
        numbers[i] = clip_uniforms(seed_key, n_steps, n_codebooks)
    return torch.from_numpy(numbers)
