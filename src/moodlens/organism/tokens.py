"""The training corpus as audio tokens: synthesised and encoded once, block by block."""

import time
from collections.abc import Callable

import torch
from jaxtyping import Int16
from torch import Tensor
from transformers import EncodecModel

from moodlens.organism.corpus import synthesise
from moodlens.organism.parts import encode

BLOCK_CLIPS = 25
SAY_EVERY_S = 20.0


def tokenise(
    codec: EncodecModel, seed: int, n_clips: int, say: Callable[[str], None] = print
) -> Int16[Tensor, "clip codebook frame"]:
    """Return the tokens of pieces 0..n_clips-1 of corpus `seed` as the codec's own `encode` gives them."""
    blocks = []
    began = said = time.monotonic()
    for start in range(0, n_clips, BLOCK_CLIPS):
        stop = min(start + BLOCK_CLIPS, n_clips)
        _, waveforms = synthesise(seed, start, stop)
        blocks.append(encode(codec, torch.from_numpy(waveforms)).to(torch.int16))
        if time.monotonic() - said > SAY_EVERY_S or stop == n_clips:
            said = time.monotonic()
            rate = stop / (said - began)
            left_s = (n_clips - stop) / rate
            say(f"tokenised {stop}/{n_clips} clips {rate:.0f} clips/s remaining {left_s:.0f} s")
    return torch.cat(blocks)


def codebook_entropies(codes: Int16[Tensor, "clip codebook frame"], n_codes: int) -> list[float]:
    """Return the entropy of each codebook's unigram distribution, in nats; log(n_codes) is full use."""
    entropies = []
    for k in range(codes.shape[1]):
        counts = torch.bincount(codes[:, k].flatten().long(), minlength=n_codes).double()
        shares = counts[counts > 0] / counts.sum()
        entropies.append(float(-(shares * shares.log()).sum()))
    return entropies
