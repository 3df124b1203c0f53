"""Drawing of tokens: guidance, filters, and noise that depends on (clip seed, step, codebook) only."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.contracts.backend import Sampling


def clip_uniforms(seed_key: int, n_steps: int, n_codebooks: int) -> Float[np.ndarray, "step codebook"]:
    """Return the uniform random numbers of one clip, float32 in [0, 1).

    Number (step, codebook) is entry `step * n_codebooks + codebook` of the counter-based Philox stream whose
    key is the clip's seed. It does not depend on the batch, the shard, or the length of the clip.

    >>> import numpy as np
    >>> bool(np.array_equal(clip_uniforms(7, 3, 4), clip_uniforms(7, 9, 4)[:3]))
    True
    """
    stream = np.random.Generator(np.random.Philox(key=seed_key))
    return stream.random((n_steps, n_codebooks), dtype=np.float32)


def guided(
    logits: Float[Tensor, "row codebook entry"], n_clips: int, scale: float
) -> Float[Tensor, "clip codebook entry"]:
    """Return the logits of every clip after classifier-free guidance, uncond + scale * (cond - uncond).

    Args:
        logits: rows [cond] or [cond; uncond], `n_clips` rows each.
        n_clips: number of clips.
        scale: guidance scale. At scale 1, or without unconditional rows, the result is the conditional rows.

    Source: transformers `ClassifierFreeGuidanceLogitsProcessor` (same order of operations, same bits).
    """
    cond, uncond = logits[:n_clips], logits[n_clips:]
    if scale == 1 or not len(uncond):
        return cond
    return uncond + (cond - uncond) * scale


def draw_tokens(
    logits: Float[Tensor, "clip codebook entry"], uniforms: Float[Tensor, "clip codebook"], sampling: Sampling
) -> Int[Tensor, "clip codebook"]:
    """Return one token per clip and codebook.

    At temperature 0 the token is the most likely entry. Otherwise the logits are divided by the temperature,
    the top_k most likely entries are kept, of these the smallest set whose probability reaches top_p, and the
    cumulative distribution over the codebook's entries is inverted at `uniforms`. Entries stay in the order
    of the codebook, so that a change in the last bit of a logit changes a token only at a boundary.

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
    # u * total may round up to total, which no cumulative value exceeds: stay one float below it
    target = torch.minimum(uniforms.unsqueeze(-1) * total, torch.nextafter(total, torch.zeros_like(total)))
    return (cumulative <= target).sum(-1)


def nats(
    logits: Float[Tensor, "clip codebook entry"], tokens: Int[Tensor, "clip codebook"]
) -> Float[Tensor, "clip codebook"]:
    """Return -ln p of the tokens under the softmax of the logits.

    >>> round(float(nats(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[1]]))), 4)
    0.6931
    """
    return -logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def _nucleus(
    scaled: Float[Tensor, "clip codebook entry"], top_p: float
) -> Float[Tensor, "clip codebook entry"]:
    """Return the logits with everything outside the smallest set of probability >= top_p at -inf."""
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    outside = probability.cumsum(-1) - probability >= top_p  # the most likely entry always stays
    return scaled.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)


def block_uniforms(
    seed_keys: Sequence[int], n_clips: int, n_steps: int, n_codebooks: int
) -> Float[Tensor, "clip step codebook"]:
    """Return the uniforms of a block of `n_clips` clips; clips without a key are padding and get zeros."""
    numbers = np.zeros((n_clips, n_steps, n_codebooks), dtype=np.float32)
    for i, seed_key in enumerate(seed_keys):
        numbers[i] = clip_uniforms(seed_key, n_steps, n_codebooks)
    return torch.from_numpy(numbers)
