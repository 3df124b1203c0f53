"""Files that are not audiocraft packages: pickled code, truncated, other layouts; references of settings."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from moodlens.backends.audiocraft.convert import convert
from moodlens.backends.audiocraft.layout import Settings
from moodlens.base.errors import ContractError
from tests.backends.audiocraft.damage import CODEC, LM, refused


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
def test_a_folder_that_lacks_a_file(folder: Path, name: str):
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


def test_references_are_resolved_and_unresolvable_ones_stay():
    values = {"a": "${b.c}", "b": {"c": "${d}", "list": ["${d}"]}, "d": 3, "loop": "${loop}"}
    settings = Settings(values, Path("x"))
    assert (settings.get("a"), settings.get("b")) == (3, {"c": 3, "list": [3]})
    assert settings.get("loop") == "${loop}"
    assert settings.get("d.e", 5) == 5
