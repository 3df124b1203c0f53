"""The copy of a queued experiment: untracked files are absent, and the message says how to include them."""

import subprocess
from pathlib import Path

import pytest

from moodlens.base.errors import UsageError
from moodlens.store.experiment_copy import advice_for_queue, require_tracked


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The user's workspace: a git clone that ignores data/."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("data/*\n")
    (tmp_path / "data").mkdir()
    for name in ("mine.csv", "data/mine.csv"):
        (tmp_path / name).write_text("caption\n")
    return tmp_path


@pytest.fixture
def copy(home: Path) -> Path:
    root = home / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx"
    root.mkdir(parents=True)
    return root


def message(path: str, root: Path) -> str:
    with pytest.raises(UsageError) as caught:
        require_tracked("prompts.table_path", path, root)
    return str(caught.value)


def test_an_untracked_file_is_named_with_three_ways_out(home: Path, copy: Path):
    assert message("mine.csv", copy) == (
        "prompts.table_path must be tracked by git, or a queued run cannot see it; got 'mine.csv'."
        f" `git add mine.csv`, or `dvc add mine.csv` and `git add mine.csv.dvc`, or give {home}/mine.csv."
    )


def test_an_ignored_file_needs_force_because_dvc_refuses_it_too(copy: Path):
    line = message("data/mine.csv", copy)
    assert "`git add -f data/mine.csv`" in line
    assert "dvc add" not in line


def test_a_file_in_dvc_lacks_only_its_pointer_in_git(home: Path, copy: Path):
    (home / "mine.csv.dvc").write_text("outs: []\n")
    assert "`git add mine.csv.dvc`, or give" in message("mine.csv", copy)


def test_a_folder_with_a_slash_at_its_end(home: Path, copy: Path):
    (home / "weights").mkdir()
    assert "`dvc add weights` and `git add weights.dvc`" in message("weights/", copy)


def test_what_is_in_the_copy_or_nowhere_or_absolute_passes(home: Path, copy: Path):
    (copy / "mine.csv").write_text("caption\n")
    for path in ("mine.csv", "none.csv", "", str(home / "data" / "mine.csv")):
        require_tracked("prompts.table_path", path, copy)


def test_the_users_own_workspace_is_no_copy(home: Path):
    require_tracked("prompts.table_path", "none.csv", home)


def test_advice_before_a_queue_is_started(home: Path):
    assert advice_for_queue("mine.csv", home) == (
        f"`git add mine.csv`, or `dvc add mine.csv` and `git add mine.csv.dvc`, or give {home}/mine.csv"
    )
    for path in ("none.csv", "", str(home / "mine.csv"), "facebook/musicgen-small"):
        assert advice_for_queue(path, home) == ""
    subprocess.run(["git", "add", "mine.csv"], cwd=home, check=True)
    assert advice_for_queue("mine.csv", home) == ""


def test_what_lies_in_a_folder_that_dvc_tracks_needs_no_advice(home: Path):
    (home / "tables" / "mine").mkdir(parents=True)
    (home / "tables" / "mine" / "a.csv").write_text("caption\n")
    assert advice_for_queue("tables/mine/a.csv", home) != ""
    (home / "tables.dvc").write_text("outs: []\n")
    subprocess.run(["git", "add", "tables.dvc"], cwd=home, check=True)
    assert advice_for_queue("tables/mine/a.csv", home) == ""
