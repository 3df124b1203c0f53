"""What a conversion writes, and every way an audiocraft folder can be wrong: one line each, nothing left behind."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from moodlens.backends import catalog, converted_config
from moodlens.backends.audiocraft_layout import Settings, read_package
from moodlens.backends.checkpoint import verify_checkpoint
from moodlens.backends.convert import convert
from moodlens.backends.converted import cache_folder, converted, is_audiocraft
from moodlens.base.errors import ContractError, MoodLensError, UsageError
from moodlens.contracts.params import Model
from tests.tiny_audiocraft import codec_config, language_config

LM, CODEC = "state_dict.bin", "compression_state_dict.bin"


@pytest.fixture
def folder(audiocraft_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(audiocraft_folder, tmp_path / "model")
    return tmp_path / "model"


def change(path: Path, edit: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    """Rewrite a package after `edit(xp.cfg, weights)`."""
    package = torch.load(path, weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    edit(config, package["best_state"])
    torch.save(package | {"xp.cfg": yaml.safe_dump(config)}, path)


def refused(folder: Path, kind: type[MoodLensError] = UsageError) -> str:
    """Return the one line that a conversion ends in; the target's place must stay as it was."""
    before = sorted(path.name for path in folder.parent.iterdir())
    with pytest.raises(kind) as caught:
        convert(folder, folder.parent / "target")
    assert sorted(path.name for path in folder.parent.iterdir()) == before
    line = str(caught.value)
    assert "\n" not in line
    assert line.endswith((".", "?"))
    return line


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


def test_the_same_folder_gives_the_same_bytes(audiocraft_folder: Path, converted_folder: Path, tmp_path: Path):
    again = convert(audiocraft_folder, tmp_path / "again")
    for path in converted_folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


class Bomb:
    """A pickle that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_does_not_run(folder: Path, tmp_path: Path, zipped: bool):
    mark = tmp_path / "model" / "ran"
    torch.save({"xp.cfg": "", "best_state": Bomb(mark)}, folder / LM, _use_new_zipfile_serialization=zipped)
    line = refused(folder)
    assert "state_dict.bin must hold tensors and plain values only; got 'posix.system'" in line
    assert "was not run" in line
    assert not mark.exists()


@pytest.mark.parametrize("name", [LM, CODEC])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights(folder: Path, name: str, share: float):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    assert f"{name} must be a whole file written by torch.save" in refused(folder, ContractError)


def test_truncated_weights_of_the_older_form(folder: Path):
    package = torch.load(folder / LM, weights_only=True)
    torch.save(package, folder / LM, _use_new_zipfile_serialization=False)
    convert(folder, folder.parent / "whole")
    content = (folder / LM).read_bytes()
    (folder / LM).write_bytes(content[: len(content) // 2])
    assert "must be a whole file written by torch.save" in refused(folder, ContractError)


@pytest.mark.parametrize("name", [LM, CODEC])
def test_half_a_folder(folder: Path, name: str):
    (folder / name).unlink()
    assert f"must hold {name}" in refused(folder, ContractError)


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ({"model": {}, "epoch": 3}, "as audiocraft exports them; got 'model, epoch'"),
        ([1, 2], "got 'list'"),
        ({"xp.cfg": "a: 1", "best_state": {"w": 3}}, "got 'xp.cfg, best_state'"),
        ({"xp.cfg": "a: 1", "best_state": {}}, "must hold 'xp.cfg' and 'best_state'"),
        ({"xp.cfg": "[1]", "best_state": {"w": torch.zeros(1)}}, "must be a YAML mapping; got 'list'"),
        ({"xp.cfg": "a: 1", "best_state": {"w": torch.zeros(1)}}, "lm_model must be transformer_lm"),
    ],
)
def test_another_layout(folder: Path, package: object, words: str):
    torch.save(package, folder / LM)
    assert words in refused(folder)


def test_broken_yaml(folder: Path):
    torch.save({"xp.cfg": "a: [", "best_state": {"w": torch.zeros(1)}}, folder / LM)
    assert "must be YAML" in refused(folder, ContractError)


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
    ("name", "value"), [("seanet.norm", "none"), ("encodec.quantizer", "no_quant"), ("encodec.renormalize", True)]
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
    with pytest.raises(UsageError, match="transformer_lm.dim must differ from the text encoder's width"):
        converted_config.skeleton(Settings(config, Path("x")), text, codec)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda weights: weights.pop("out_norm.bias"), "must hold all weights of the configuration; got 'no decoder"),
        (lambda weights: weights.update({"extra.weight": torch.zeros(1)}), "only weights of the configuration"),
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

    monkeypatch.setattr("moodlens.backends.convert.save_file", full)
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


def test_a_codec_that_lies_elsewhere(folder: Path, converted_folder: Path, monkeypatch: pytest.MonkeyPatch):
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

    from moodlens.backends.loading import load_musicgen

    checkpoint = verify_checkpoint(converted_folder)
    info = catalog.describe(catalog.Source("x", "", checkpoint), Model("x", "", "float32", "cpu"))
    load_musicgen(checkpoint, info).parts[0].audio_encoder.save_pretrained(folder.parent / "hub")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda _repo, **_: str(folder.parent / "hub"))
    from_hub = convert(folder, folder.parent / "from_hub")
    assert (from_hub / weights).read_bytes() == (converted_folder / weights).read_bytes()


@given(
    n_q=st.integers(1, 16), bins=st.integers(2, 4096), ratios=st.lists(st.integers(2, 10), min_size=1, max_size=5),
    rate_hz=st.sampled_from([16_000, 24_000, 32_000, 44_100]),
)  # fmt: skip
@settings(deadline=None)
def test_transformers_counts_as_many_codebooks(n_q: int, bins: int, ratios: list[int], rate_hz: int):
    config = codec_config() | {"sample_rate": rate_hz}
    config["rvq"] |= {"n_q": n_q, "bins": bins}
    config["seanet"]["ratios"] = ratios
    found = converted_config.codec_config(Settings(config, Path("codec")))
    assert found.num_quantizers == n_q
    assert found.sampling_rate == rate_hz  # through a ${reference}


def test_references_are_followed_and_stay_where_they_lead_nowhere():
    values = {"a": "${b.c}", "b": {"c": "${d}", "list": ["${d}"]}, "d": 3, "loop": "${loop}"}
    found = Settings(values, Path("x"))
    assert (found.get("a"), found.get("b")) == (3, {"c": 3, "list": [3]})
    assert found.get("loop") == "${loop}"
    assert found.get("d.e", 5) == 5


def test_audiocraft_is_not_needed_to_convert(audiocraft_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] in ("audiocraft", "omegaconf")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert convert(audiocraft_folder, tmp_path / "alone").is_dir()


def test_an_audiocraft_folder_is_a_model_id(
    folder: Path, converted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    model = Model(str(folder), "", "float32", "cpu")
    found = catalog.find(model, tmp_path)
    assert found.weights_sha256 == verify_checkpoint(converted_folder).sha256
    info = catalog.load(model, tmp_path).info
    assert (info.model_id, info.n_layers, info.d_model, info.n_codebooks) == (str(folder), 3, 32, 4)
    made = [path for path in cache_folder().iterdir() if path.is_dir()]
    assert len(made) == 1
    written = made[0].stat().st_mtime_ns
    assert catalog.find(model, tmp_path).checkpoint.folder == made[0]
    assert made[0].stat().st_mtime_ns == written  # converted once
    change(folder / LM, lambda _config, weights: weights["out_norm.bias"].add_(1))
    assert catalog.find(model, tmp_path).weights_sha256 != found.weights_sha256


def test_where_converted_models_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MOODLENS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "moodlens" / "converted"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "moodlens" / "converted"


def test_a_folder_that_lacks_one_file_is_not_converted_silently(folder: Path):
    (folder / CODEC).unlink()
    assert is_audiocraft(folder)
    with pytest.raises(ContractError, match=f"must hold {CODEC}"):
        converted(folder)


def test_a_package_keeps_its_precision(folder: Path):
    change(folder / LM, lambda _config, weights: weights.update({k: v.half() for k, v in weights.items()}))
    assert read_package(folder / LM).weights["out_norm.bias"].dtype == torch.float16
    with safe_open(convert(folder, folder.parent / "half") / "model.safetensors", "pt") as weights:
        assert weights.get_tensor("decoder.model.decoder.layer_norm.bias").dtype == torch.float16
