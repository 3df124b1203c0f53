"""Both trainings at toy size: the loss falls, and a killed run ends with the bits of an undisturbed one."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import ContractError
from moodlens.organism.architecture import build_random, build_tokenizer, forget_text, text_encoder_of
from moodlens.organism.codec import spectral_distance
from moodlens.organism.corpus import score_at
from moodlens.organism.train_decoder import NEVER, hidden_states, use_fast_attention
from moodlens.organism.train_text import TextRecipe, TextTask, continuous_of
from moodlens.organism.training_loop import Task
from moodlens.prompts.factors import Factors, poles_of
from moodlens.prompts.lexicon import KEYS
from tests.organism.toy_tasks import codec_task, decoder_task, run, schedule, tones
from tests.tiny_model import TINY_SHAPE, tiny_codec, tiny_model


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


def test_fast_attention_agrees_with_the_stock_one():
    model = tiny_model()
    columns = torch.randint(0, 32, (2, 4, 9), generator=torch.Generator().manual_seed(1))
    text = build_tokenizer()(["sad flute piece", "organ"], padding=True, return_tensors="pt")
    given = (columns, text.input_ids, text.attention_mask, (torch.tensor([0, 0]), torch.tensor([NEVER, 0])))
    with torch.no_grad():
        stock = hidden_states(model, *given)
        use_fast_attention(model)
        assert torch.allclose(hidden_states(model, *given), stock, atol=1e-5)


def test_a_run_stops_where_the_next_stage_takes_over(tmp_path: Path):
    plan = replace(schedule(), stop_step=6)
    messages = run(decoder_task(), tmp_path, plan)
    assert messages[-1].startswith("step 6/6 ")
    assert plan.rate_at(5) == schedule().rate_at(5), "on the schedule of the whole run"


def test_the_text_encoder_learns_what_captions_mean(tmp_path: Path):
    """Captions of one wording, which name emotion, instrument, key and the poles of the factors."""
    tokenizer = build_tokenizer()
    encoder = text_encoder_of(build_random(1, len(tokenizer), tiny_codec(), replace(TINY_SHAPE, d_text=24)))
    words = dict(zip(EMOTIONS, ("jolly", "sad", "calm", "lively", "angry"), strict=True))

    def captioned_factors(piece: int, draw: int) -> tuple[str, Factors]:
        factors = score_at(5, piece).factors
        mood = words[factors.emotion] if factors.emotion else "plain"
        wording = poles_of(factors).wording
        return f"{mood} {factors.instrument} piece in {KEYS[factors.key]}, {wording}".lower(), factors

    recipe = TextRecipe(seed=1, batch_captions=32, n_pieces=500)
    task = TextTask(encoder, tokenizer, recipe, captioned_factors)
    before = task.validate()
    run(task, tmp_path, schedule(n_steps=60, learning_rate=1e-2))
    after = task.validate()
    for name in ("val_continuous", "val_emotion", "val_instrument", "val_key"):
        assert after[name] < 0.8 * before[name], name


def test_what_is_true_of_a_piece_is_scaled_and_unknown_affect_is_left_out():
    free = Factors(None, None, None, 180.0, 0.17, 0.42, False, 0, "piano", True)
    true, known = continuous_of([free])
    assert true[0, 2:].tolist() == [1.0, 1.0, 0.0, -1.0]
    assert known[0].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


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
