"""An audiocraft folder as model.id: converted once per machine, into the user's cache."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moodlens.backends import catalog
from moodlens.backends.audiocraft.converted import cache_folder, converted, is_audiocraft
from moodlens.backends.checkpoint import verify_checkpoint
from moodlens.backends.trained_length import trained_s
from moodlens.base.errors import ContractError
from moodlens.forecast.plan import sizes_of_model
from moodlens.forecast.sizes import sizes_of_checkpoint
from moodlens.params.pipeline import Model
from tests.backends.audiocraft.damage import CODEC, LM, change


def test_an_audiocraft_folder_is_a_model_id(
    folder: Path, converted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    model = Model(str(folder), "", "float32", "cpu")
    source = catalog.find(model, tmp_path)
    assert source.weights_sha256 == verify_checkpoint(converted_folder).sha256
    info = catalog.load(model, tmp_path).info
    assert (info.model_id, info.n_layers, info.d_model, info.n_codebooks) == (str(folder), 3, 32, 4)
    made = [path for path in cache_folder().iterdir() if path.is_dir()]
    assert len(made) == 1
    written = made[0].stat().st_mtime_ns
    assert catalog.find(model, tmp_path).checkpoint.folder == made[0]
    assert made[0].stat().st_mtime_ns == written  # converted once
    change(folder / LM, lambda _config, weights: weights["out_norm.bias"].add_(1))
    assert catalog.find(model, tmp_path).weights_sha256 != source.weights_sha256


@pytest.mark.parametrize("prefix", ["", catalog.AUDIOCRAFT])
def test_the_plan_of_an_audiocraft_folder_converts_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
):
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    change(folder / LM, lambda _config, weights: weights.update({n: t.half() for n, t in weights.items()}))
    sizes = sizes_of_model(Model(f"{prefix}{folder}", "", "float32", "cpu"), tmp_path)
    assert not cache_folder().exists()
    assert sizes.stored_dtype == "float16"
    converted_sizes = sizes_of_checkpoint(verify_checkpoint(converted(folder)))
    assert replace(sizes, stored_dtype="") == replace(converted_sizes, stored_dtype="")


@pytest.mark.parametrize(("segment", "seconds"), [(12, 12.0), (7.5, 7.5), (None, None), ("x", None)])
def test_an_audiocraft_folder_says_the_length_of_its_training(folder: Path, segment: object, seconds: object):
    def set_length(config: dict[str, Any], _weights: object) -> None:
        config["dataset"] = {} if segment is None else {"segment_duration": segment}

    change(folder / LM, set_length)
    assert trained_s(Model(str(folder), "", "float32", "cpu"), folder) == seconds


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
