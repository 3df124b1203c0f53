"""`moodlens models verify` never says yes to a folder that `generate` then refuses."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest

from moodlens.backends import catalog
from moodlens.base.errors import MoodLensError
from moodlens.cli.models import verified
from moodlens.contracts.backend import Capture, ClipRequest, Sampling
from moodlens.params.pipeline import Model
from tests.backends.mutations import AUDIOCRAFT_REFUSED, AUDIOCRAFT_SERVED, REFUSED, SERVED, Damage, naming


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "model")


def generates(folder: Path) -> str:
    """Return "" if a clip can be made with the model in `folder`, else the line that says why not."""
    try:
        backend = catalog.load(Model(str(folder), "", "float32", "cpu"), folder)
        made = backend.generate([ClipRequest("c", "p", "a happy piano piece", 0)], Sampling(4), Capture())
        backend.decode(made.codes)
    except MoodLensError as error:
        return str(error)
    return ""


def verifies(folder: Path) -> str:
    try:
        return "" if "pipeline  yes" in verified(str(folder), "", folder) else "no yes"
    except MoodLensError as error:
        return str(error)


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse_with_the_same_line(folder: Path, name: str):
    damage: Damage = REFUSED[name]
    damage(folder)
    reason = verifies(folder)
    assert reason, "verify says yes"
    assert "\n" not in reason
    assert generates(folder) == reason


@pytest.mark.parametrize("name", SERVED)
def test_both_accept(folder: Path, name: str):
    SERVED[name](folder)
    assert (verifies(folder), generates(folder)) == ("", "")


@pytest.fixture
def exported(audiocraft_folder: Path, tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in audiocraft layout with its text encoder beside it, on a machine without a hub."""
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    shutil.copytree(tiny_t5, tmp_path / "t5")
    folder = shutil.copytree(audiocraft_folder, tmp_path / "exported")
    naming(str(tmp_path / "t5"))(folder)
    return folder


@pytest.mark.parametrize("name", AUDIOCRAFT_REFUSED)
def test_both_refuse_an_export_with_the_same_line(exported: Path, name: str):
    AUDIOCRAFT_REFUSED[name](exported)
    reason = verifies(exported)
    assert reason, "verify says yes"
    assert "\n" not in reason
    assert generates(exported) == reason


@pytest.mark.parametrize("name", AUDIOCRAFT_SERVED)
def test_both_accept_an_export(exported: Path, name: str):
    AUDIOCRAFT_SERVED[name](exported)
    assert (verifies(exported), generates(exported)) == ("", "")


def test_there_are_forty_kinds_of_damage():
    assert len(REFUSED) >= 40


def test_what_cannot_be_seen_without_its_weights_changes_the_digest(folder: Path):
    """Whatever decides a state is hashed: configuration, weights, tokenizer."""

    def digest() -> str:
        return catalog.find(Model(str(folder), "", "float32", "cpu"), folder).weights_sha256

    seen = {digest()}
    for name, old, new in (
        ("config.json", b'"num_attention_heads": 2', b'"num_attention_heads": 4'),
        ("tokenizer.json", b'"unk_id": ', b'"unk_id":  '),
    ):
        content = (folder / name).read_bytes()
        assert old in content, name
        (folder / name).write_bytes(content.replace(old, new))
        seen.add(digest())
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1] + b"\x01")
    assert len(seen | {digest()}) == 4
