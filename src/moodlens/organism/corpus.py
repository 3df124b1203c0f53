"""The training corpus: each score, piece, waveform and caption is a function of (seed, index).

The codec is trained on scores without openings, the decoders on pieces that unfold. Pieces can be made in any
order and by any process. `tokenise` encodes the corpus block by block.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int16, Int64
from torch import Tensor
from transformers import EncodecModel

from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for
from moodlens.organism.architecture import encode
from moodlens.organism.composer import Score, compose, compose_free, sample_affect
from moodlens.organism.synth import N_SAMPLES, render
from moodlens.organism.unfolding import Piece, render_piece, unfold
from moodlens.prompts.grammar import Caption, caption_for, repaired_caption

FREE_SHARE = 0.3


def score_at(seed: int, index: int) -> Score:
    """Return piece `index` of corpus `seed`; emotions alternate by index, FREE_SHARE are factor pieces."""
    rng = rng_for("corpus", seed, index)
    if rng.random() < FREE_SHARE:
        return compose_free(rng)
    return emotion_score_at(seed, index, EMOTIONS[index % len(EMOTIONS)])


def emotion_score_at(seed: int, index: int, emotion: str) -> Score:
    """Return a piece of the named emotion, never a factor piece."""
    rng = rng_for("corpus", seed, index, emotion)
    return compose(rng, sample_affect(rng, emotion), emotion)


def piece_at(seed: int, index: int) -> Piece:
    """Return piece `index` of corpus `seed` as it unfolds: `score_at` behind an opening."""
    return unfold(rng_for("opening", seed, index), score_at(seed, index))


def emotion_piece_at(seed: int, index: int, emotion: str) -> Piece:
    """Return `emotion_score_at` behind an opening that tells its key and instrument only."""
    return unfold(rng_for("opening", seed, index), emotion_score_at(seed, index, emotion))


def synthesise(seed: int, start: int, stop: int) -> tuple[list[Score], Float32[np.ndarray, "clip sample"]]:
    """Return scores start..stop-1 of corpus `seed`, without openings, and their waveforms at 16 kHz."""
    scores = [score_at(seed, index) for index in range(start, stop)]
    return scores, render_all(scores)


def render_all(scores: Sequence[Score]) -> Float32[np.ndarray, "clip sample"]:
    """Return the waveforms of scores, float32 (clip, sample) at 16 kHz."""
    waveforms = np.empty((len(scores), N_SAMPLES), dtype=np.float32)
    for row, score in enumerate(scores):
        waveforms[row] = render(score)
    return waveforms


def caption_at(seed: int, index: int, draw: int, *, paired: bool = True) -> Caption:
    """Return caption number `draw` of piece `index`: true of it, or (not paired) of another piece.

    An unpaired caption keeps the piece's instrument and key. Its emotion, tempo, loudness, brightness, mode
    and kind of caption are those of a piece drawn at random. The shuffled twin is trained on such captions.
    """
    rng = rng_for("caption", seed, index, draw, int(paired))
    factors = score_at(seed, index).factors
    if paired:
        return caption_for(rng, factors)
    donor = score_at(seed, int(rng.integers(1 << 30))).factors
    return repaired_caption(rng, factors, donor)


BLOCK_CLIPS = 25
REPORT_EVERY_S = 20.0


def tokenise(
    codec: EncodecModel, seed: int, n_clips: int, report: Callable[[str], None] = print
) -> tuple[Int16[Tensor, "clip codebook frame"], Int64[Tensor, " clip"]]:
    """Return the tokens of pieces 0..n_clips-1 of corpus `seed`, and the frame of each piece's turn."""
    blocks, turns = [], []
    began = reported = time.monotonic()
    for start in range(0, n_clips, BLOCK_CLIPS):
        stop = min(start + BLOCK_CLIPS, n_clips)
        unfolding = [piece_at(seed, index) for index in range(start, stop)]
        waveforms = np.stack([render_piece(piece) for piece in unfolding])
        blocks.append(encode(codec, torch.from_numpy(waveforms)).to(torch.int16))
        turns += [piece.turn_frame for piece in unfolding]
        if time.monotonic() - reported > REPORT_EVERY_S or stop == n_clips:
            reported = time.monotonic()
            rate = stop / (reported - began)
            left_s = (n_clips - stop) / rate
            report(f"tokenised {stop}/{n_clips} clips {rate:.0f} clips/s remaining {left_s:.0f} s")
    return torch.cat(blocks), torch.tensor(turns)


def codebook_entropies(codes: Int16[Tensor, "clip codebook frame"], n_codes: int) -> list[float]:
    """Return the entropy of each codebook's unigram distribution, in nats; log(n_codes) means full use."""
    entropies = []
    for k in range(codes.shape[1]):
        counts = torch.bincount(codes[:, k].flatten().long(), minlength=n_codes).double()
        shares = counts[counts > 0] / counts.sum()
        entropies.append(float(-(shares * shares.log()).sum()))
    return entropies
