"""Random twins are functions of their seed; what is saved is what plain transformers loads and plays."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoProcessor, MusicgenForConditionalGeneration

from moodlens.organism.architecture import (
    CLIP_FRAMES,
    HOP_SAMPLES,
    build_random,
    build_tokenizer,
    codec_config,
    forget_text,
)
from tests.tiny_model import TINY_SHAPE, save_tiny_model, tiny_codec, tiny_model


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_codec_has_the_rates_it_says():
    config = codec_config()
    assert (config.frame_rate, config.num_quantizers) == (50, 4)
    assert config.sampling_rate == config.frame_rate * HOP_SAMPLES


def test_random_weights_are_a_function_of_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    codec = tiny_codec()
    one, again, other = (build_random(seed, 50, codec, TINY_SHAPE) for seed in (7, 7, 8))
    assert torch.equal(torch.rand(3), expected)
    assert same(one, again)
    assert not same(one.decoder, other.decoder)
    assert same(one.audio_encoder, codec)


def test_forgetting_text_touches_cross_attention_and_projection_only():
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    forget_text(model, seed=1)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name in changed if "encoder_attn." not in name} == {"enc_to_dec_proj.weight"}
    assert len([name for name in changed if "encoder_attn." in name]) == 4 * TINY_SHAPE.n_layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def test_weights_are_half_precision_on_disk_and_float32_once_loaded(folder: Path):
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert kinds == {torch.float16}
    loaded = MusicgenForConditionalGeneration.from_pretrained(folder)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    original = tiny_model().state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, original[name].half().float()), name


def test_plain_transformers_plays_it_for_four_seconds_by_its_own_settings(folder: Path):
    model = MusicgenForConditionalGeneration.from_pretrained(folder)
    generation = model.generation_config
    assert (generation.do_sample, generation.guidance_scale, generation.top_k) == (True, 3.0, 50)
    inputs = AutoProcessor.from_pretrained(folder)(
        text=["sad flute piece"], padding=True, return_tensors="pt"
    )
    waveform = model.generate(**inputs)
    assert waveform.shape == (1, 1, CLIP_FRAMES * HOP_SAMPLES)
    assert torch.isfinite(waveform).all()


def test_the_folder_names_no_path_of_this_machine(folder: Path):
    for path in folder.glob("*.json"):
        assert str(folder.parent) not in path.read_text(), path.name
    assert "_name_or_path" not in (folder / "config.json").read_text()


def test_the_tokenizer_fits_the_text_encoder():
    model = tiny_model()
    assert model.config.text_encoder.vocab_size == len(build_tokenizer())
