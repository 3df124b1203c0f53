"""An audiocraft folder as model.id: converted once per machine, into the user's cache."""

from pathlib import Path

import pytest

from moodlens.backends import catalog
from moodlens.backends.audiocraft.converted import cache_folder, converted, is_audiocraft
from moodlens.backends.checkpoint import verify_checkpoint
from moodlens.base.errors import ContractError
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
