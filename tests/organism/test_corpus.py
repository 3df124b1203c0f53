"""The corpus as a function of (seed, index): order-free, balanced, and frozen with the weights."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2_contingency

from moodlens.base.axes import EMOTIONS
from moodlens.organism import corpus
from moodlens.organism.architecture import encode
from moodlens.organism.corpus import (
    FREE_SHARE,
    caption_at,
    emotion_piece_at,
    emotion_score_at,
    piece_at,
    score_at,
    synthesise,
    tokenise,
)
from moodlens.organism.synth import render
from moodlens.organism.unfolding import render_piece
from moodlens.prompts.factors import poles_from, poles_of
from tests.tiny_model import tiny_codec

GOLDEN_SCORES = [(45, 26, "organ"), (19, 0, "flute"), (47, 26, "flute"), (80, 41, "organ")]
GOLDEN_DB = [-20.1358, -22.6942, -19.3235, -16.4494]
"""Pieces 0-3 of corpus 0: (notes, hits, instrument) and level."""


def test_a_piece_does_not_depend_on_the_order_of_calls() -> None:
    scores, waves = synthesise(7, 3, 8)
    for offset in (4, 0, 2):
        score = score_at(7, 3 + offset)
        assert score == scores[offset]
        assert np.array_equal(render(score), waves[offset])
    assert score_at(7, 5) != score_at(8, 5)


def test_emotions_come_in_turn_and_factor_pieces_at_their_share() -> None:
    factors = [score_at(0, index).factors for index in range(1000)]
    n_free = sum(piece.free for piece in factors)
    low, high = binom.interval(0.999, 1000, FREE_SHARE)
    assert low <= n_free <= high
    assert all(piece.free or piece.emotion == EMOTIONS[index % 5] for index, piece in enumerate(factors))
    counts = Counter(piece.emotion for piece in factors if not piece.free)
    assert max(counts.values()) - min(counts.values()) < 50


def test_an_emotion_can_be_requested() -> None:
    assert {emotion_score_at(1, index, "angry").factors.emotion for index in range(20)} == {"angry"}


def test_a_piece_unfolds_to_its_score() -> None:
    for index in range(10):
        assert piece_at(7, index).score == score_at(7, index)
        assert piece_at(7, index) == piece_at(7, index)
        angry = emotion_piece_at(7, index, "angry")
        assert angry.score == emotion_score_at(7, index, "angry")
        assert angry.turn_frame == piece_at(7, index).turn_frame, "one draw of the opening per (seed, index)"
    assert len({piece_at(7, index).turn_frame for index in range(30)}) > 10


def test_tokens_and_turns_are_those_of_the_pieces_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BLOCK_CLIPS", 2)
    messages: list[str] = []
    codec = tiny_codec()
    codes, turns = tokenise(codec, 7, 5, messages.append)
    assert codes.dtype == torch.int16
    assert turns.tolist() == [piece_at(7, index).turn_frame for index in range(5)]
    for index in range(5):
        waveform = torch.from_numpy(render_piece(piece_at(7, index)))[None]
        agree = (encode(codec, waveform)[0] == codes[index]).float().mean()
        assert agree > 0.99, "batches round differently"
    assert messages[-1].startswith("tokenised 5/5 clips")


def test_a_paired_caption_is_true_of_the_piece() -> None:
    for index in range(300):
        piece, caption = score_at(2, index).factors, caption_at(2, index, 0)
        assert caption.emotion == piece.emotion
        if "{instrument}" in caption.template:
            assert piece.instrument in caption.text.split() or f"{piece.instrument}," in caption.text.split()
        if "{mode}" in caption.template:
            assert ("major" in caption.text) == piece.major
            assert ("minor" in caption.text) != piece.major
        if "{tempo}" in caption.template:
            assert poles_from(caption.wording) == poles_of(piece)
            assert any(word in caption.text for word in ("slow", "unhurried")) == (piece.bpm < 90)


def test_an_unpaired_caption_is_independent_of_the_music_except_nuisance() -> None:
    kinds = ("none", *EMOTIONS)
    table, modes = np.zeros((6, 6)), np.zeros((2, 2))
    for index in range(2000):
        piece, caption = score_at(3, index).factors, caption_at(3, index, 0, paired=False)
        table[kinds.index(piece.emotion or "none"), kinds.index(caption.emotion or "none")] += 1
        if "{mode}" in caption.template:
            modes[int(piece.major), int("major" in caption.text)] += 1
        if "{instrument}" in caption.template:
            assert piece.instrument in caption.text
    assert chi2_contingency(table).pvalue > 0.001
    assert chi2_contingency(modes).pvalue > 0.001


def test_captions_of_one_piece_differ_from_draw_to_draw() -> None:
    assert len({caption_at(0, 1, draw).text for draw in range(20)}) > 5
    assert caption_at(0, 1, 4) == caption_at(0, 1, 4)


def test_the_corpus_is_the_one_the_weights_were_trained_on() -> None:
    """Golden figures: a change here asks for a new codec and new weights (models/organism/dvc.yaml)."""
    scores, waves = synthesise(0, 0, 4)
    summaries = [(len(score.notes), len(score.hits), score.factors.instrument) for score in scores]
    assert summaries == GOLDEN_SCORES
    levels_db = 20 * np.log10(np.sqrt(np.mean(waves.astype(np.float64) ** 2, axis=1)))
    assert levels_db == pytest.approx(GOLDEN_DB, abs=1e-3)
