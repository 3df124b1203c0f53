"""The decoder's training: which clips, losses and weights it uses, and what the text regimes teach."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from moodlens.codes.delay import apply_delay
from moodlens.organism.train_decoder import NEVER, DecoderTask, Span, TextRegime, TokenisedPieces
from tests.organism.toy_tasks import (
    ALWAYS,
    EARLY_FRAMES,
    N_FRAMES,
    decoder_recipe,
    decoder_task,
    run,
    schedule,
    task_on,
    toy_pieces,
)

Losses = Callable[[torch.Tensor, list[str], Span], torch.Tensor]


def always(n_clips: int) -> Span:
    return torch.zeros(n_clips, dtype=torch.long), torch.full((n_clips,), NEVER)


def never(n_clips: int) -> Span:
    return torch.zeros(n_clips, dtype=torch.long), torch.zeros(n_clips, dtype=torch.long)


def test_token_losses_are_those_of_a_plain_forward_pass():
    task = decoder_task()
    texts = ["sad flute piece", "organ piece"]
    codes = task.pieces.codes[:2].long()
    text = task.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        for head in task.model.decoder.lm_heads:
            head.weight.mul_(50)  # an untrained model predicts nothing: every step would have the same loss
        columns = apply_delay(codes, 32)[:, :, :-1].flatten(0, 1)
        logits = task.model(**text, decoder_input_ids=columns).logits.view(2, 4, -1, 32)
        expected = [
            functional.cross_entropy(
                logits[:, k, k : k + N_FRAMES].transpose(1, 2), codes[:, k], reduction="none"
            )
            for k in range(4)
        ]
        losses = task.token_losses(task.pieces.codes[:2], texts, always(2))
    assert losses.shape == (2, 4, N_FRAMES)
    assert torch.allclose(losses, torch.stack(expected, 1), rtol=0.03, atol=0.05), "bfloat16 against float32"


def test_a_caption_outside_its_span_changes_nothing_and_inside_it_does():
    task = decoder_task()
    codes = task.pieces.codes[:1]

    def losses(text: str, span: Span) -> torch.Tensor:
        with torch.no_grad():
            return task.token_losses(codes, [text], span)

    assert torch.equal(losses("sad flute piece", never(1)), losses("jolly flute piece", never(1)))
    assert not torch.equal(losses("sad flute piece", always(1)), losses("jolly flute piece", always(1)))


def test_early_clips_are_cut_and_drawn_from_the_early_turns(monkeypatch: pytest.MonkeyPatch):
    task = decoder_task()
    early = {
        tuple(clip.flatten().tolist()) for clip in task.pieces.codes[[0, 1, 4, 5, 8, 9], :, :EARLY_FRAMES]
    }
    seen: set[tuple[int, ...]] = set()

    def losses(codes: torch.Tensor, texts: list[str], spans: Span) -> torch.Tensor:
        assert len(codes) == len(texts) == len(spans[0]) == len(spans[1])
        assert (len(codes), codes.shape[2]) in {(4, N_FRAMES), (3, EARLY_FRAMES)}
        if len(codes) == 3:
            seen.update(tuple(clip.flatten().tolist()) for clip in codes)
        return torch.zeros(codes.shape)

    monkeypatch.setattr(task, "token_losses", losses)
    for step in range(20):
        task.loss(step)
    assert seen == early, "frames 8 and 10: the eight frames at the turn lie inside the 18 frames"


def test_the_loss_weighs_codebooks_and_the_frames_at_the_turn(monkeypatch: pytest.MonkeyPatch):
    """By hand: the turn is at frame 8, so frames 6 to 15 weigh 3, and the others 1."""
    pieces = toy_pieces()
    same = TokenisedPieces(pieces.codes, torch.full_like(pieces.turns, 8), pieces.captions)
    task = task_on(same, same, decoder_recipe(turn_weight=3.0), ALWAYS)

    def losses(codes: torch.Tensor, texts: list[str], spans: Span) -> torch.Tensor:
        found = torch.zeros(codes.shape)
        found[:, 0, 6:16] = 1.0  # at the turn, first codebook
        found[:, 1, :6] = 10.0 * (len(codes) == 4)  # before it, second codebook, whole clips only
        return found

    monkeypatch.setattr(task, "token_losses", losses)
    weight = 4 * (10 * 3 + 14) + 3 * (10 * 3 + 8)
    first, second = 3 * 10 * (4 + 3) / weight, 10 * 6 * 4 / weight
    assert float(task.loss(0)) == pytest.approx((2.0 * first + 1.0 * second) / 4.0)


def test_validation_reads_with_text_without_it_and_with_text_lost_before_the_turn(
    monkeypatch: pytest.MonkeyPatch,
):
    task = decoder_task()

    def losses(codes: torch.Tensor, texts: list[str], spans: Span) -> torch.Tensor:
        found = torch.zeros(codes.shape)
        for row, clip in enumerate(codes):
            number = next(i for i in range(5) if torch.equal(clip, task.held_out.codes[i]))
            turn = (8, 10, 12, 14, 8)[number]
            assert texts[row] == task.held_out.captions(number, 0)
            assert spans[0][row] == 0
            level = {NEVER: 1.0, turn - 6: 2.0, 0: 3.0}[int(spans[1][row])]
            found[row] = level
            found[row, :, turn - 2 : turn + 8] = 10 * level
        return found

    monkeypatch.setattr(task, "token_losses", losses)
    figures = task.validate()
    mean = (10 * 10 + 14) / 24
    assert figures == pytest.approx(
        {
            "val_cond": mean,
            "val_uncond": 3 * mean,
            "turn_cond": 10.0,
            "turn_lost": 20.0,
            "turn_uncond": 30.0,
        }
    )


def test_clips_captions_and_spans_are_functions_of_the_step():
    one, other = (decoder_task().loss(3) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, decoder_task().loss(4))


def test_the_decoder_learns_what_captions_say(tmp_path: Path):
    """Two captions, two constant musics: with text the loss vanishes, without it one bit per clip stays."""
    codes = torch.zeros((8, 4, 6), dtype=torch.int16)
    codes[4:] = 7

    def captions(clip: int, _: int) -> str:
        return "sad flute piece" if clip < 4 else "jolly flute piece"

    pieces = TokenisedPieces(codes, torch.zeros(8, dtype=torch.long), captions)
    task = task_on(pieces, pieces, decoder_recipe(early_clips=0, turn_weight=1.0), ALWAYS)
    run(task, tmp_path, schedule(n_steps=120, learning_rate=1e-2))
    figures = task.validate()
    one_bit = np.log(2) / (4 * 6)  # without text only the very first token is open, of 4 codebooks x 6 frames
    assert figures["val_cond"] < 0.5 * one_bit
    assert figures["val_uncond"] > 0.95 * one_bit


TURN = 12


def unfolding_task(regime: TextRegime) -> DecoderTask:
    """Two captions: the music is the same up to the turn, and one of two constants behind it."""
    codes = torch.zeros((8, 4, 20), dtype=torch.int16)
    codes[:4, :, TURN:], codes[4:, :, TURN:] = 3, 7

    def captions(clip: int, _: int) -> str:
        return "sad flute piece" if clip < 4 else "jolly flute piece"

    pieces = TokenisedPieces(codes, torch.full((8,), TURN), captions)
    return task_on(pieces, pieces, decoder_recipe(early_clips=0, turn_weight=5.0), regime)


@pytest.mark.parametrize(
    ("regime", "remembers"),
    [
        (TextRegime(never=0.1, lost=0.7, late=0.0, paired=True), True),
        (TextRegime(never=0.1, lost=0.0, late=0.9, paired=True), False),
    ],
)
def test_text_that_goes_away_teaches_memory_and_late_text_does_not(
    regime: TextRegime, remembers: bool, tmp_path: Path
):
    task = unfolding_task(regime)
    run(task, tmp_path, schedule(n_steps=200, learning_rate=1e-2))
    figures = task.validate()
    gain = figures["turn_uncond"] - figures["turn_cond"]
    share = (figures["turn_lost"] - figures["turn_cond"]) / gain
    assert gain > 0.5 * np.log(2) / (4 * 10), "one bit at the turn, over 4 codebooks x 10 frames"
    assert share < 0.25 if remembers else share > 0.75
