"""Pieces that unfold: an opening that is the same for every emotion, then the turn to the emotion.

The opening has the key and the instrument of what follows. Its length is drawn by the piece's seed and tells
nothing of the emotion. A listener, and a decoder that is fed the tokens, therefore cannot know the emotion
before the turn. What a model does at the turn comes from its text: read at that moment, or remembered.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from moodlens.organism.composer import N_FRAMES, Score, compose_opening
from moodlens.organism.synth import render

FIRST_TURN_FRAME, LAST_TURN_FRAME = 30, 110
"""The turn lies between 0.6 and 2.2 s, on an even frame."""

LOOKAHEAD_FRAMES = 6
"""Frames before the turn whose tokens may tell of it, because the codec is not causal."""


@dataclass(frozen=True)
class Piece:
    """An opening and the score that follows it; the factors are those of the score that follows."""

    opening: Score
    score: Score
    turn_frame: int  # first frame of `score`


def unfold(rng: np.random.Generator, score: Score) -> Piece:
    """Return the piece in which an opening drawn by `rng` comes before `score`."""
    turn_frame = 2 * int(rng.integers(FIRST_TURN_FRAME // 2, LAST_TURN_FRAME // 2 + 1))
    factors = score.factors
    return Piece(compose_opening(rng, factors.key, factors.instrument, turn_frame), score, turn_frame)


def render_piece(piece: Piece) -> Float32[np.ndarray, " sample"]:
    """Return the waveform of a piece, float32 (sample,) = (64000,) at 16 kHz, |x| < 1."""
    opening = render(piece.opening, piece.turn_frame)
    return np.concatenate([opening, render(piece.score, N_FRAMES - piece.turn_frame)])
