"""Pieces that unfold: the opening tells key and instrument only, and the codec does not see far past it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency
from transformers import EncodecModel, MusicgenForConditionalGeneration

from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for
from moodlens.organism.architecture import HOP_SAMPLES, codec_of, encode
from moodlens.organism.composer import N_FRAMES, compose_opening
from moodlens.organism.corpus import emotion_piece_at, emotion_score_at, piece_at, score_at
from moodlens.organism.synth import N_SAMPLES, render
from moodlens.organism.unfolding import LOOKAHEAD_FRAMES, Piece, render_piece, unfold
from moodlens.prompts.lexicon import INSTRUMENTS, KEYS

HOME = Path(__file__).parents[2] / "models" / "organism"


def pieces_that_begin_alike(index: int) -> list[Piece]:
    """One piece per emotion, all in one key, on one instrument, with one draw of the opening."""
    pieces = []
    for emotion in EMOTIONS:
        score = emotion_score_at(6, index, emotion)
        same = replace(score.factors, key=list(KEYS)[index % 4], instrument=INSTRUMENTS[index // 4 % 4])
        pieces.append(unfold(rng_for("alike", index), replace(score, factors=same)))
    return pieces


@pytest.mark.parametrize("index", range(16))
def test_the_opening_is_the_same_for_every_emotion(index: int):
    first, *others = pieces_that_begin_alike(index)
    for piece in others:
        assert piece.score.factors.emotion != first.score.factors.emotion
        assert (piece.opening, piece.turn_frame) == (first.opening, first.turn_frame)


def test_an_opening_tells_its_key_and_instrument():
    scores = [compose_opening(rng_for(1), key, instrument, 60) for key in KEYS for instrument in INSTRUMENTS]
    assert len({score.notes for score in scores}) == len(KEYS)
    assert {score.factors.instrument for score in scores} == set(INSTRUMENTS)


@pytest.mark.parametrize("n_frames", [30, 64, 110])
@pytest.mark.parametrize("key", KEYS)
def test_an_opening_has_tonic_and_fifth_only_and_no_drums(key: int, n_frames: int):
    for seed in range(10):
        opening = compose_opening(rng_for(seed), key, "piano", n_frames)
        assert {note.midi % 12 for note in opening.notes} == {key % 12, (key + 7) % 12}
        assert opening.hits == ()
        assert all(note.frame >= 0 and note.n_frames >= 2 for note in opening.notes)


@pytest.mark.parametrize("n_frames", [30, 64, 110])
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_an_opening_has_died_away_at_the_turn(instrument: str, n_frames: int):
    for seed in range(10):
        opening = compose_opening(rng_for(seed), 9, instrument, n_frames)
        longer = render(opening, n_frames + 50)
        assert longer[: n_frames * HOP_SAMPLES].any()
        assert not longer[n_frames * HOP_SAMPLES :].any()


def test_the_turn_lies_between_600_and_2200_ms_on_an_even_frame():
    score = score_at(0, 0)
    turns = {unfold(rng_for("turn", seed), score).turn_frame for seed in range(600)}
    assert turns == set(range(30, 111, 2))


def test_the_turn_tells_nothing_of_the_emotion():
    table = np.zeros((len(EMOTIONS), 4))
    for index in range(1000):
        piece = piece_at(4, index)
        if piece.score.factors.emotion:
            row = EMOTIONS.index(piece.score.factors.emotion)
            table[row, min(3, (piece.turn_frame - 30) // 20)] += 1
    assert chi2_contingency(table).pvalue > 0.001


def test_a_piece_is_its_opening_and_then_its_score():
    for index in range(10):
        piece = piece_at(8, index)
        assert piece.score == score_at(8, index)
        wave, turn = render_piece(piece), piece.turn_frame * HOP_SAMPLES
        assert wave.shape == (N_SAMPLES,)
        assert wave.dtype == np.float32
        assert np.array_equal(wave[:turn], render(piece.opening, piece.turn_frame))
        assert np.array_equal(wave[turn:], render(piece.score, N_FRAMES - piece.turn_frame))


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_level_is_in_the_middle_before_the_turn_and_that_of_the_emotion_behind_it(emotion: str):
    for index in range(5):
        piece = emotion_piece_at(2, index, emotion)
        before, behind = np.split(render_piece(piece), [piece.turn_frame * HOP_SAMPLES])
        levels = [np.sqrt(np.mean(part.astype(np.float64) ** 2)) for part in (before, behind)]
        assert levels[0] == pytest.approx(0.085, rel=0.06)
        assert levels[1] == pytest.approx(piece.score.factors.rms, rel=0.08)


@pytest.fixture(scope="module")
def codec() -> EncodecModel:
    """The shipped codec."""
    return codec_of(MusicgenForConditionalGeneration.from_pretrained(HOME)).eval()


def test_the_codec_sees_four_frames_ahead(codec: EncodecModel):
    """By gradient: the last sample that can change a latent, whatever the music is."""
    waveform = 0.1 * torch.randn(1, 1, N_SAMPLES, generator=torch.Generator().manual_seed(0))
    waveform.requires_grad_()
    frame = 100
    codec.encoder(waveform)[0, :, frame].abs().sum().backward()
    last = int(torch.nonzero(waveform.grad[0, 0]).max())
    assert last // HOP_SAMPLES - frame == 4 <= LOOKAHEAD_FRAMES


@pytest.mark.parametrize("index", [1, 6, 11])
def test_tokens_before_the_lookahead_do_not_know_what_follows(codec: EncodecModel, index: int):
    pieces = pieces_that_begin_alike(index)
    codes = encode(codec, torch.from_numpy(np.stack([render_piece(piece) for piece in pieces])))
    turn = pieces[0].turn_frame
    before = codes[:, :, : turn - LOOKAHEAD_FRAMES]
    assert torch.equal(before, before[:1].expand_as(before))
    for other in codes[1:, :, turn:]:
        assert (other != codes[0, :, turn:]).float().mean() > 0.5
