"""Random twins are functions of their seed; what is saved is what plain transformers loads and plays."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoProcessor, MusicgenForConditionalGeneration

from moodlens.base.errors import UsageError
from moodlens.organism.architecture import (
    CLIP_FRAMES,
    DECODER,
    HOP_SAMPLES,
    SHARED,
    build_random,
    build_tokenizer,
    codec_config,
    forget_text,
    load_decoder,
    load_model,
    save,
    save_shared,
    silence_text,
)
from tests.tiny_model import TINY_SHAPE, tiny_codec, tiny_model


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


@torch.no_grad()
def logits(model: MusicgenForConditionalGeneration, text: str) -> torch.Tensor:
    inputs = build_tokenizer()([text], return_tensors="pt")
    columns = torch.arange(40).view(4, 10) % 32
    return model(**inputs, decoder_input_ids=columns).logits


def test_no_text_changes_anything_in_a_silenced_model():
    model = tiny_model()
    texts = ("sad flute piece", "i feel jolly, piano in g", "organ piece")
    assert not torch.equal(logits(model, texts[0]), logits(model, texts[1]))
    silence_text(model)
    assert torch.equal(logits(model, texts[0]), logits(model, texts[1]))
    assert torch.equal(logits(model, texts[0]), logits(model, texts[2]))


def sibling() -> MusicgenForConditionalGeneration:
    """Another decoder with the text encoder and the codec of `tiny_model`."""
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.add_(0.01)
    forget_text(model, seed=1)
    return model


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family")
    save_shared(tiny_model(), folder)
    save(tiny_model(), build_tokenizer(), folder, shared=folder)
    save(sibling(), build_tokenizer(), folder / "small" / "sibling", shared=folder)
    return folder


@pytest.mark.parametrize(("place", "original"), [(".", tiny_model), ("small/sibling", sibling)])
def test_weights_are_half_precision_on_disk_and_float32_once_loaded(family: Path, place, original):
    for name in (SHARED, DECODER):
        with safe_open(family / place / name, framework="pt") as file:
            assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    expected = original().state_dict()
    for loaded in (
        MusicgenForConditionalGeneration.from_pretrained(family / place),
        load_model(family / place),
    ):
        state = loaded.state_dict()
        assert state.keys() == expected.keys()
        for name, tensor in state.items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, expected[name].half().float()), name


def test_a_sibling_links_to_the_shared_file_by_a_relative_path(family: Path):
    link = family / "small" / "sibling" / SHARED
    assert link.is_symlink()
    assert link.readlink() == Path("../..") / SHARED
    assert not (family / SHARED).is_symlink()
    moved = family.rename(family.with_name("moved"))
    try:
        assert (moved / "small" / "sibling" / SHARED).resolve() == moved / SHARED
    finally:
        moved.rename(family)


def test_saving_anew_keeps_the_link(family: Path):
    save(sibling(), build_tokenizer(), family / "small" / "sibling", shared=family)
    assert (family / "small" / "sibling" / SHARED).is_symlink()


def test_the_index_names_every_tensor_once_and_the_files_hold_no_others(family: Path):
    for place in (family, family / "small" / "sibling"):
        index = json.loads((place / "model.safetensors.index.json").read_text())
        held = {}
        for name in (SHARED, DECODER):
            with safe_open(place / name, framework="pt") as file:
                held |= dict.fromkeys(file.keys(), name)
        assert index["weight_map"] == held
        assert {name.split(".")[0] for name, at in held.items() if at == SHARED} == {
            "text_encoder",
            "audio_encoder",
        }


def test_the_decoder_of_a_trained_model_can_be_taken_over(family: Path):
    model = build_random(9, len(build_tokenizer()), tiny_codec(), TINY_SHAPE)
    projection = model.enc_to_dec_proj.weight.clone()
    load_decoder(model, family / "small" / "sibling")
    expected = sibling().decoder.state_dict()
    for name, tensor in model.decoder.state_dict().items():
        assert torch.equal(tensor, expected[name].half().float()), name
    assert torch.equal(model.enc_to_dec_proj.weight, projection)


def test_a_model_that_is_not_trained_yet_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"must exist; got 'nothing'\. Run `dvc repro`"):
        load_model(tmp_path)


@pytest.mark.parametrize("place", [".", "small/sibling"])
def test_plain_transformers_plays_it_for_four_seconds_by_its_own_settings(family: Path, place: str):
    model = MusicgenForConditionalGeneration.from_pretrained(family / place)
    generation = model.generation_config
    assert (generation.do_sample, generation.guidance_scale, generation.top_k) == (True, 3.0, 50)
    inputs = AutoProcessor.from_pretrained(family / place)(
        text=["sad flute piece"], padding=True, return_tensors="pt"
    )
    waveform = model.generate(**inputs)
    assert waveform.shape == (1, 1, CLIP_FRAMES * HOP_SAMPLES)
    assert torch.isfinite(waveform).all()


def test_the_folder_names_no_path_of_this_machine(family: Path):
    paths = list(family.rglob("*.json"))
    assert len(paths) == 12
    for path in paths:
        assert str(family.parent) not in path.read_text(), path.name
    for place in (family, family / "small" / "sibling"):
        assert "_name_or_path" not in (place / "config.json").read_text()


def test_the_tokenizer_fits_the_text_encoder():
    model = tiny_model()
    assert model.config.text_encoder.vocab_size == len(build_tokenizer())
