"""Atomic writes: whole or as before, and what killed writers left."""

import os
import subprocess
from pathlib import Path

import pytest

from moodlens.base.errors import ContractError
from moodlens.store.atomic import remove_left_behind, replacing


def test_a_file_that_fails_is_as_before(tmp_path: Path):
    path = tmp_path / "deep" / "file"
    with replacing(path) as temporary:
        temporary.write_text("one")
    with pytest.raises(ValueError, match="no"), replacing(path) as temporary:
        temporary.write_text("two")
        raise ValueError("no")
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    """An error while cleaning up hid the line."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(ContractError, match="must be writable"),
        replacing(tmp_path / "file" / "inside" / "x"),
    ):
        pass


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = [
        f".a.json.{ended.pid}.tmp",
        f".b.json.{os.getpid()}.tmp",
        ".mine.tmp",
        ".c.json.12x.tmp",
        "d.1.tmp",
    ]
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / "deep" / name).touch()
    remove_left_behind(tmp_path)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == sorted(names[1:])
    remove_left_behind(tmp_path / "absent")
