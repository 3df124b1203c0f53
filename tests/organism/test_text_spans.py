"""When a decoder sees its text: spans drawn by regime, and null text outside them, bit for bit."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import binom
from transformers import MusicgenForConditionalGeneration

from moodlens.organism.architecture import build_tokenizer, forget_text, silence_text
from moodlens.organism.train_decoder import (
    FIRST_LOST_STEP,
    NEVER,
    Span,
    TextRegime,
    at_turn,
    hidden_states,
    text_spans,
    use_fast_attention,
)
from moodlens.organism.unfolding import LOOKAHEAD_FRAMES
from tests.tiny_model import tiny_model

N_CLIPS = 8000
REGIME = TextRegime(never=0.15, lost=0.3, late=0.25, paired=True)
TURNS = torch.from_numpy(np.random.default_rng(5).choice(np.arange(30, 111, 2), N_CLIPS))


def drawn(regime: TextRegime, turns: torch.Tensor, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    first, end = text_spans(np.random.default_rng(seed), regime, turns)
    return first.numpy(), end.numpy()


def test_clips_without_text_with_lost_and_with_late_text_come_at_their_shares():
    first, end = drawn(REGIME, TURNS)
    kinds = {
        0.15: end == 0,
        0.3: (first == 0) & (end > 0) & (end < NEVER),
        0.25: first > 0,
        0.30000000000000004: (first == 0) & (end == NEVER),
    }
    assert sum(kind.sum() for kind in kinds.values()) == N_CLIPS
    for share, kind in kinds.items():
        low, high = binom.interval(0.999, N_CLIPS, share)
        assert low <= kind.sum() <= high, share


def test_lost_text_goes_away_at_any_step_from_the_fourth_to_the_lookahead_before_the_turn():
    regime = TextRegime(never=0.0, lost=1.0, late=0.0, paired=True)
    for turn in (30, 44):
        first, end = drawn(regime, torch.full((4000,), turn))
        assert not first.any()
        assert set(end) == set(range(FIRST_LOST_STEP, turn - LOOKAHEAD_FRAMES + 1))
    first, end = drawn(regime, TURNS)
    assert (end >= FIRST_LOST_STEP).all()
    assert (end <= TURNS.numpy() - LOOKAHEAD_FRAMES).all()


def test_late_text_comes_the_lookahead_before_the_turn_and_stays():
    first, end = drawn(TextRegime(never=0.0, lost=0.0, late=1.0, paired=True), TURNS)
    assert (first == TURNS.numpy() - LOOKAHEAD_FRAMES).all()
    assert (end == NEVER).all()


def test_the_base_never_sees_text():
    _, end = drawn(TextRegime(never=1.0, lost=0.0, late=0.0, paired=True), TURNS)
    assert not end.any()


def test_the_same_draw_gives_the_same_spans():
    one, again, other = (drawn(REGIME, TURNS, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[1], other[1])


def test_the_frames_at_the_turn_are_two_before_it_to_seven_behind_it():
    frames = at_turn(torch.tensor([5, 1, 12]), 14)
    assert [torch.nonzero(row).flatten().tolist() for row in frames] == [
        list(range(3, 13)),
        list(range(9)),
        [10, 11, 12, 13],
    ]


@pytest.fixture(scope="module")
def model() -> MusicgenForConditionalGeneration:
    """A tiny model on which text has a visible effect."""
    model = tiny_model()
    forget_text(model, seed=1)
    with torch.no_grad():
        model.enc_to_dec_proj.weight.mul_(30)
        for layer in model.decoder.model.decoder.layers:
            for part in layer.encoder_attn.parameters():
                part.mul_(30)
    return model


COLUMNS = torch.randint(0, 32, (2, 4, 12), generator=torch.Generator().manual_seed(1))
TEXT = build_tokenizer()(["sad flute piece", "organ"], padding=True, return_tensors="pt")
FULL, NONE = (0, NEVER), (0, 0)


@torch.no_grad()
def states(model: MusicgenForConditionalGeneration, *spans: tuple[int, int]) -> torch.Tensor:
    """The states of two clips with texts of unequal length, each with its span."""
    given: Span = tuple(torch.tensor(part) for part in zip(*spans, strict=True))
    return hidden_states(model, COLUMNS, TEXT.input_ids, TEXT.attention_mask, given)


@torch.no_grad()
def stock_states(model: MusicgenForConditionalGeneration) -> torch.Tensor:
    outputs = model(**TEXT, decoder_input_ids=COLUMNS.flatten(0, 1), output_hidden_states=True)
    return outputs.decoder_hidden_states[-1]


def test_with_text_at_every_step_the_states_are_those_of_transformers(model):
    assert torch.allclose(states(model, FULL, FULL), stock_states(model), atol=1e-5)


def test_without_text_the_states_are_those_of_a_model_that_no_text_reaches(model):
    silent = copy.deepcopy(model)
    silence_text(silent)
    none = states(model, NONE, NONE)
    assert torch.equal(none, states(silent, FULL, FULL)), "bit for bit"
    assert torch.allclose(none, stock_states(silent), atol=1e-5)
    assert not torch.allclose(none, stock_states(model), atol=1e-2)


def test_steps_before_late_text_are_bit_equal_to_null_text(model):
    late, none, full = (
        states(model, (5, NEVER), (9, NEVER)),
        states(model, NONE, NONE),
        states(model, FULL, FULL),
    )
    for clip, first in enumerate((5, 9)):
        assert torch.equal(late[clip, :first], none[clip, :first])
        assert ((late[clip, first:] - none[clip, first:]).abs().amax(1) > 1e-3).all()
        assert not torch.allclose(late[clip, first:], full[clip, first:], atol=1e-5), "its past had no text"


def test_steps_before_text_is_lost_are_bit_equal_to_full_text(model):
    none, full = states(model, NONE, NONE), states(model, FULL, FULL)
    lost = states(model, (0, 5), (0, 9))
    for clip, end in enumerate((5, 9)):
        assert torch.equal(lost[clip, :end], full[clip, :end])
        assert ((lost[clip, end:] - full[clip, end:]).abs().amax(1) > 1e-3).all()
        assert not torch.allclose(lost[clip, end:], none[clip, end:], atol=1e-4), "its past had text"


def test_a_step_without_text_reads_no_text_in_any_layer(model):
    """The text changes; the cross-attention of hidden steps returns exactly zero under both."""
    added: list[torch.Tensor] = []
    layers = model.decoder.model.decoder.layers
    hooks = [
        layer.encoder_attn.register_forward_hook(lambda _, __, out: added.append(out[0])) for layer in layers
    ]
    states(model, (0, 5), (9, NEVER))
    for hook in hooks:
        hook.remove()
    assert len(added) == len(layers)
    for out in added:
        assert not out[0, 5:].any()
        assert not out[1, :9].any()
        assert out[0, :5].any(1).all()
        assert out[1, 9:].any(1).all()


def test_fast_attention_agrees_with_the_stock_one():
    model = tiny_model()
    stock = states(model, FULL, (3, 7))
    use_fast_attention(model)
    assert torch.allclose(states(model, FULL, (3, 7)), stock, atol=1e-5)
