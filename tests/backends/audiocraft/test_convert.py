"""What a conversion writes, what transformers cannot express, and weights that do not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from moodlens.backends import catalog
from moodlens.backends.audiocraft import config as converted_config
from moodlens.backends.audiocraft.convert import convert
from moodlens.backends.audiocraft.layout import Settings, read_package
from moodlens.backends.checkpoint import verify_checkpoint
from moodlens.base.errors import ContractError, UsageError
from moodlens.params.pipeline import Model
from tests.backends.audiocraft.damage import CODEC, LM, change, refused
from tests.tiny_audiocraft import codec_config, language_config


def test_a_converted_folder_is_whole_and_plain(converted_folder: Path):
    checkpoint = verify_checkpoint(converted_folder)
    assert len(checkpoint.sha256) == 64
    with safe_open(converted_folder / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}
        names = set(weights.keys())
    assert "decoder.model.decoder.layers.2.encoder_attn.k_proj.weight" in names
    assert "text_encoder.encoder.embed_tokens.weight" not in names  # tied to shared
    text = (converted_folder / "config.json").read_text()
    assert "/tmp" not in text  # no path of this machine
    generation = json.loads((converted_folder / "generation_config.json").read_text())
    assert (generation["max_length"], generation["top_k"], generation["guidance_scale"]) == (1504, 250, 3.0)


@pytest.mark.parametrize(
    ("segment", "n_frames"),  # 50 frames/s; the published models' 30 s where no length is stated
    [(12, 600), (7.51, 376), (None, 1500), (0, 1500), (True, 1500), ("long", 1500), (float("inf"), 1500)],
)
def test_clips_are_generated_as_long_as_those_of_the_training(
    folder: Path, tmp_path: Path, segment: object, n_frames: int
):
    change(folder / LM, lambda config, _: config.update(dataset={"segment_duration": segment}))
    generation = json.loads((convert(folder, tmp_path / "out") / "generation_config.json").read_text())
    assert generation["max_length"] == n_frames + 4


def test_the_same_folder_gives_the_same_bytes(
    audiocraft_folder: Path, converted_folder: Path, tmp_path: Path
):
    again = convert(audiocraft_folder, tmp_path / "again")
    for path in converted_folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lm_model", "transformer_lm_magnet"),
        ("codebooks_pattern.modeling", "parallel"),
        ("codebooks_pattern.delay.delays", [0, 0, 1, 1]),
        ("transformer_lm.positional_embedding", "rope"),
        ("transformer_lm.norm_first", False),
        ("transformer_lm.bias_attn", True),
        ("transformer_lm.layer_scale", 0.1),
        ("conditioners.description.model", "lut"),
        ("conditioners.description.t5.normalize_text", True),
        ("conditioners.description.t5.finetune", True),
        ("fuser.cross", []),
        ("fuser.sum", ["genre"]),
    ],
)
def test_an_architecture_that_transformers_lacks(folder: Path, name: str, value: object):
    def edit(config: dict[str, Any], _weights: object) -> None:
        *path, last = name.split(".")
        for key in path:
            config = config[key]
        config[last] = value

    change(folder / LM, edit)
    line = refused(folder)
    assert line.startswith(f"{name} must be ")
    assert str(value) in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("seanet.norm", "none"), ("encodec.quantizer", "no_quant"), ("encodec.renormalize", True)],
)
def test_a_codec_that_transformers_lacks(folder: Path, name: str, value: object):
    section, key = name.split(".")
    change(folder / CODEC, lambda config, _: config[section].update({key: value}))
    assert refused(folder).startswith(f"{name} must be ")


def test_a_setting_that_is_missing(folder: Path):
    change(folder / LM, lambda config, _: config["transformer_lm"].pop("n_q"))
    assert "transformer_lm.n_q must be set in xp.cfg; got 'nothing'" in refused(folder)


def test_a_text_as_wide_as_the_decoder(audiocraft_folder: Path, tiny_t5: Path):
    config = language_config(tiny_t5)
    config["transformer_lm"]["dim"] = 16
    text = type("Text", (), {"d_model": 16})()
    codec = converted_config.codec_config(Settings(codec_config(), Path("c")))
    with pytest.raises(UsageError, match=r"transformer_lm\.dim must differ from the text encoder's width"):
        converted_config.skeleton(Settings(config, Path("x")), text, codec)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda weights: weights.pop("out_norm.bias"),
            "must hold all weights of the configuration; got 'no decoder",
        ),
        (
            lambda weights: weights.update({"extra.weight": torch.zeros(1)}),
            "only weights of the configuration",
        ),
        (
            lambda weights: weights.update({"out_norm.bias": torch.zeros(5)}),
            r"decoder.model.decoder.layer_norm.bias of shape (32,); got '(5,)'",
        ),
    ],
)
def test_weights_that_do_not_fit(folder: Path, edit: Callable[[Any], Any], words: str):
    change(folder / LM, lambda _config, weights: edit(weights))
    assert words in refused(folder, ContractError)


def test_a_target_that_exists(folder: Path, tmp_path: Path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="the target must not exist yet"):
        convert(folder, tmp_path / "taken")


def test_a_target_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moodlens.backends.audiocraft.convert.save_file", full)
    assert "must be writable; got 'No space left on device'" in refused(folder, ContractError)


def offline(_repo: str, **_: object) -> str:
    raise LocalEntryNotFoundError("outgoing traffic is disabled\nmore")


def name_t5(folder: Path, name: str) -> None:
    change(folder / LM, lambda config, _: config["conditioners"]["description"]["t5"].update(name=name))


def test_a_text_encoder_from_the_hub(
    folder: Path, tiny_t5: Path, converted_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    name_t5(folder, "t5-base")
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    line = refused(folder)
    assert "text encoder t5-base must be cached or downloadable" in line
    assert "--text-encoder" in line

    def cached(repo: str, **_: object) -> str:
        return str(tiny_t5) if repo == "google-t5/t5-base" else offline(repo)

    monkeypatch.setattr("huggingface_hub.snapshot_download", cached)
    target = convert(folder, folder.parent / "from_hub")
    weights = "model.safetensors"
    assert (target / weights).read_bytes() == (converted_folder / weights).read_bytes()


def test_a_text_encoder_that_is_given(folder: Path, tiny_t5: Path, tmp_path: Path):
    name_t5(folder, "t5-base")
    assert convert(folder, tmp_path / "given", tiny_t5).is_dir()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="the text encoder must load"):
        convert(folder, tmp_path / "none", tmp_path / "empty")


def test_a_codec_in_another_folder(folder: Path, converted_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """audiocraft's stereo models name their codec instead of holding it."""
    elsewhere = folder.parent / "codec"
    elsewhere.mkdir()
    (folder / CODEC).rename(elsewhere / CODEC)
    torch.save({"pretrained": str(elsewhere)}, folder / CODEC)
    weights = "model.safetensors"
    local = convert(folder, folder.parent / "local")
    assert (local / weights).read_bytes() == (converted_folder / weights).read_bytes()

    torch.save({"pretrained": "facebook/encodec_32khz"}, folder / CODEC)
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    assert "codec facebook/encodec_32khz must be cached or downloadable" in refused(folder)

    from moodlens.backends.musicgen.loading import load_musicgen

    checkpoint = verify_checkpoint(converted_folder)
    info = catalog.describe(catalog.Source("x", "", checkpoint), Model("x", "", "float32", "cpu"))
    load_musicgen(checkpoint, info).parts[0].audio_encoder.save_pretrained(folder.parent / "hub")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda _repo, **_: str(folder.parent / "hub"))
    from_hub = convert(folder, folder.parent / "from_hub")
    assert (from_hub / weights).read_bytes() == (converted_folder / weights).read_bytes()


@given(
    n_q=st.integers(1, 16),
    bins=st.integers(2, 4096),
    ratios=st.lists(st.integers(2, 10), min_size=1, max_size=5),
    rate_hz=st.sampled_from([16_000, 24_000, 32_000, 44_100]),
)
@settings(deadline=None)
def test_transformers_counts_as_many_codebooks(n_q: int, bins: int, ratios: list[int], rate_hz: int):
    config = codec_config() | {"sample_rate": rate_hz}
    config["rvq"] |= {"n_q": n_q, "bins": bins}
    config["seanet"]["ratios"] = ratios
    codec = converted_config.codec_config(Settings(config, Path("codec")))
    assert codec.num_quantizers == n_q
    assert codec.sampling_rate == rate_hz  # through a ${reference}


def test_audiocraft_is_not_needed_to_convert(
    audiocraft_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] in ("audiocraft", "omegaconf")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert convert(audiocraft_folder, tmp_path / "alone").is_dir()


def test_a_package_keeps_its_precision(folder: Path):
    change(folder / LM, lambda _config, weights: weights.update({k: v.half() for k, v in weights.items()}))
    assert read_package(folder / LM).weights["out_norm.bias"].dtype == torch.float16
    with safe_open(convert(folder, folder.parent / "half") / "model.safetensors", "pt") as weights:
        assert weights.get_tensor("decoder.model.decoder.layer_norm.bias").dtype == torch.float16
