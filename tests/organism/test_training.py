"""Both trainings at toy size: the loss falls, and a killed run ends with the bits of an undisturbed one."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from moodlens.base.errors import ContractError
from moodlens.codes.delay import apply_delay
from moodlens.organism.architecture import build_random, build_tokenizer, forget_text, text_encoder_of
from moodlens.organism.codec import CodecRecipe, CodecTask, spectral_distance
from moodlens.organism.corpus import caption_at, score_at
from moodlens.organism.train_decoder import DecoderRecipe, DecoderTask, hidden_states, use_fast_attention
from moodlens.organism.train_text import TextRecipe, TextTask, continuous_of
from moodlens.organism.training_loop import Schedule, Task, optimizer_for, train
from moodlens.prompts.factors import Factors
from tests.tiny_model import TINY_SHAPE, tiny_codec, tiny_model

N_STEPS = 12


def schedule(n_steps: int = N_STEPS, learning_rate: float = 3e-3) -> Schedule:
    return Schedule(
        n_steps=n_steps,
        learning_rate=learning_rate,
        warmup_steps=2,
        final_share=0.1,
        clip_norm=1.0,
        validate_every_steps=4,
        save_every_steps=5,
    )


def tones(n_clips: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    times_s = np.arange(16_000) / 16_000
    pitches_hz = rng.uniform(200, 800, size=(n_clips, 1))
    return (0.1 * np.sin(2 * np.pi * pitches_hz * times_s)).astype(np.float32)


def codec_task() -> CodecTask:
    recipe = CodecRecipe(
        seed=1, batch_crops=2, crop_s=0.2, plant_step=3, commitment=0.25, waveform=0.3, n_steps=N_STEPS
    )
    return CodecTask(tiny_codec(), recipe, tones(6, seed=1), tones(2, seed=2))


def decoder_recipe(opening_clips: int, opening_steps: int) -> DecoderRecipe:
    return DecoderRecipe(
        seed=1,
        batch_clips=4,
        opening_clips=opening_clips,
        opening_steps=opening_steps,
        caption_dropout=0.2,
        codebook_weights=(2.0, 1.0, 0.6, 0.4),
    )


def decoder_task() -> DecoderTask:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 32, (12, 4, 10), generator=generator).to(torch.int16)
    recipe = decoder_recipe(opening_clips=3, opening_steps=5)
    model = tiny_model()
    model.audio_encoder.requires_grad_(False)
    texts = ("sad flute piece", "i feel jolly, piano in g", "organ piece")

    def captions(clip: int, draw: int) -> str:
        return texts[(clip + draw) % 3]

    return DecoderTask(model, build_tokenizer(), recipe, codes, captions, codes[:5], captions)


def run(task: Task, folder: Path, plan: Schedule, fingerprint: str = "recipe") -> list[str]:
    messages: list[str] = []
    optimizers = [optimizer_for(task.model, (0.9, 0.95), 0.01)]
    state, curve = folder / "state.safetensors", folder / "curve.csv"
    train(task, optimizers, plan, state, curve, fingerprint, messages.append)
    return messages


class Killed(Exception):
    pass


class DiesAt:
    """A task whose process is killed when it is about to take a step."""

    def __init__(self, task: Task, step: int) -> None:
        self.task, self.model, self.step = task, task.model, step

    def loss(self, step: int) -> torch.Tensor:
        if step == self.step:
            raise Killed
        return self.task.loss(step)

    def validate(self) -> dict[str, float]:
        return self.task.validate()


@pytest.mark.parametrize("make", [codec_task, decoder_task])
@pytest.mark.parametrize("killed_at", [3, 7])
def test_killed_and_restarted_training_ends_bit_identical(
    make: Callable[[], Task], killed_at: int, tmp_path: Path
):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    run(make(), undisturbed, schedule())
    with pytest.raises(Killed):
        run(DiesAt(make(), killed_at), disturbed, schedule())
    messages = run(make(), disturbed, schedule())
    assert any("resumed at step 5" in line for line in messages) == (killed_at > 5)
    ours, theirs = (load_file(folder / "state.safetensors") for folder in (disturbed, undisturbed))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    curves = [(folder / "curve.csv").read_text().splitlines() for folder in (disturbed, undisturbed)]
    without_rate = [[line.rsplit(",", 1)[0] for line in curve] for curve in curves]
    assert [line.split(",")[0] for line in curves[0]] == ["step", "4", "8", "12"]
    assert without_rate[0][-1].split(",")[2:] == without_rate[1][-1].split(",")[2:]


def test_a_state_of_another_recipe_is_not_resumed(tmp_path: Path):
    run(decoder_task(), tmp_path, schedule(), "one recipe")
    assert not any("resumed" in line for line in run(decoder_task(), tmp_path, schedule(), "another"))


def test_a_finished_run_is_not_trained_further(tmp_path: Path):
    run(decoder_task(), tmp_path, schedule())
    before = (tmp_path / "state.safetensors").read_bytes()
    run(decoder_task(), tmp_path, schedule())
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_a_truncated_state_is_named(tmp_path: Path):
    run(decoder_task(), tmp_path, schedule())
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ContractError, match="must be a complete training state"):
        run(decoder_task(), tmp_path, schedule())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path):
    task = decoder_task()
    task.weights = torch.tensor([float("nan")] * 4)
    with pytest.raises(ContractError, match="loss at step 0 must be finite"):
        run(task, tmp_path, schedule())


def test_the_rate_warms_up_and_ends_at_its_final_share():
    plan = schedule(n_steps=1000, learning_rate=1.0)
    assert plan.rate_at(0) == pytest.approx(0.5)
    assert plan.rate_at(500) == pytest.approx(0.55)
    assert plan.rate_at(1000) == pytest.approx(0.1)


def test_the_codec_learns_tones(tmp_path: Path):
    task = codec_task()
    before = task.validate()["val_log"]
    run(task, tmp_path, schedule(n_steps=60))
    assert task.validate()["val_log"] < 0.8 * before


def test_the_decoder_learns_what_captions_say(tmp_path: Path):
    """Two captions, two constant musics: with text the loss vanishes, without it one bit per clip stays."""
    codes = torch.zeros((8, 4, 6), dtype=torch.int16)
    codes[4:] = 7
    model = tiny_model()
    model.audio_encoder.requires_grad_(False)

    def captions(clip: int, _: int) -> str:
        return "sad flute piece" if clip < 4 else "jolly flute piece"

    recipe = decoder_recipe(opening_clips=0, opening_steps=0)
    task = DecoderTask(model, build_tokenizer(), recipe, codes, captions, codes, captions)
    run(task, tmp_path, schedule(n_steps=120, learning_rate=1e-2))
    figures = task.validate()
    one_bit = np.log(2) / (4 * 6)  # without text only the very first token is open, of 4 codebooks x 6 frames
    assert figures["val_cond"] < 0.5 * one_bit
    assert figures["val_uncond"] > 0.95 * one_bit


def test_codebook_losses_are_those_of_a_plain_forward_pass():
    task = decoder_task()
    codes = task.codes[:2].long()
    columns = apply_delay(codes, 32)
    text = task.tokenizer(["sad flute piece", "organ piece"], padding=True, return_tensors="pt")
    with torch.no_grad():
        for head in task.model.decoder.lm_heads:
            head.weight.mul_(50)  # an untrained model predicts nothing: every step would have the same loss
        logits = task.model(**text, decoder_input_ids=columns[:, :, :-1].flatten(0, 1)).logits.view(
            2, 4, -1, 32
        )
        expected = [
            functional.cross_entropy(logits[:, k, k : k + 10].flatten(0, 1), codes[:, k].flatten())
            for k in range(4)
        ]
        losses = task.codebook_losses(
            task.codes[:2], ["sad flute piece", "organ piece"], torch.tensor([True, True])
        )
    assert torch.allclose(losses, torch.stack(expected), rtol=1e-2), "bfloat16 against float32"


def test_fast_attention_agrees_with_the_stock_one():
    model = tiny_model()
    columns = torch.randint(0, 32, (2, 4, 9), generator=torch.Generator().manual_seed(1))
    text = build_tokenizer()(["sad flute piece", "organ"], padding=True, return_tensors="pt")
    given = (columns, text.input_ids, text.attention_mask, torch.tensor([True, False]))
    with torch.no_grad():
        stock = hidden_states(model, *given)
        use_fast_attention(model)
        assert torch.allclose(hidden_states(model, *given), stock, atol=1e-5)


def test_an_opening_is_the_beginning_of_the_whole():
    task = decoder_task()
    codes, texts, keep = task.codes[:3], ["organ piece"] * 3, torch.tensor([True] * 3)
    longer = torch.cat([codes, torch.zeros_like(codes)], dim=2)
    with torch.no_grad():
        from_short = task.codebook_losses(codes, texts, keep, n_steps=6)
        from_long = task.codebook_losses(longer, texts, keep, n_steps=6)
    assert torch.equal(from_short, from_long), "later frames are neither input nor target"
    assert not torch.equal(from_short, task.codebook_losses(codes, texts, keep))


def test_a_batch_weighs_whole_clips_and_openings_by_their_steps(monkeypatch: pytest.MonkeyPatch):
    task = decoder_task()

    def losses(codes: torch.Tensor, texts: list[str], keep: torch.Tensor, n_steps: int) -> torch.Tensor:
        assert (len(codes), n_steps) in {(4, 13), (3, 5)}
        return torch.full((4,), float(len(codes)))

    monkeypatch.setattr(task, "codebook_losses", losses)
    assert float(task.loss(0)) == pytest.approx((4 * 4 * 13 + 3 * 3 * 5) / (4 * 13 + 3 * 5))


def test_a_run_stops_where_the_next_stage_takes_over(tmp_path: Path):
    plan = replace(schedule(), stop_step=6)
    messages = run(decoder_task(), tmp_path, plan)
    assert messages[-1].startswith("step 6/6 ")
    assert plan.rate_at(5) == schedule().rate_at(5), "on the schedule of the whole run"


def test_the_text_encoder_learns_what_captions_mean(tmp_path: Path):
    tokenizer = build_tokenizer()
    encoder = text_encoder_of(build_random(1, len(tokenizer), tiny_codec(), replace(TINY_SHAPE, d_text=32)))

    def captioned_factors(piece: int, draw: int) -> tuple[str, Factors]:
        return caption_at(5, piece, draw).text, score_at(5, piece).factors

    task = TextTask(
        encoder, tokenizer, TextRecipe(seed=1, batch_captions=32, n_pieces=500), captioned_factors
    )
    before = task.validate()
    run(task, tmp_path, schedule(n_steps=60, learning_rate=1e-2))
    after = task.validate()
    assert after["val_key"] < before["val_key"], "most captions name no key"
    for name in ("val_continuous", "val_emotion", "val_instrument"):
        assert after[name] < 0.8 * before[name], name


def test_what_is_true_of_a_piece_is_scaled_and_unknown_affect_is_left_out():
    free = Factors(None, None, None, 180.0, 0.17, 0.42, False, 0, "piano", True)
    true, known = continuous_of([free])
    assert true[0, 2:].tolist() == [1.0, 1.0, 0.0, -1.0]
    assert known[0].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


def test_a_dropped_caption_changes_nothing_and_a_kept_one_does():
    task = decoder_task()
    codes = task.codes[:1]

    def losses(text: str, keep: bool) -> torch.Tensor:
        with torch.no_grad():
            return task.codebook_losses(codes, [text], torch.tensor([keep]))

    assert torch.equal(losses("sad flute piece", False), losses("jolly flute piece", False))
    assert not torch.equal(losses("sad flute piece", True), losses("jolly flute piece", True))


def test_frozen_parts_stay_and_are_not_in_the_state(tmp_path: Path):
    task = decoder_task()
    task.model.text_encoder.requires_grad_(False)
    forget_text(task.model, seed=1)
    before = copy.deepcopy(task.model.text_encoder.state_dict())
    run(task, tmp_path, schedule())
    after = task.model.text_encoder.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any("text_encoder" in name for name in load_file(tmp_path / "state.safetensors"))


def test_spectral_distance_of_equal_and_of_silent_sounds():
    sound = torch.from_numpy(tones(2, seed=3))
    assert [float(part) for part in spectral_distance(sound, sound)] == [0.0, 0.0]
    relative, _ = spectral_distance(torch.zeros_like(sound), sound)
    assert 0.9 < relative < 1.0
