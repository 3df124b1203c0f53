"""Caches of libraries go to a folder that can be written: without a home, and with one that is read-only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moodlens.base.cache_folders import CACHES, use_writable_caches

COMPILED = """
from numba import njit
@njit(cache=True)
def twice(x):
    return 2 * x
"""
SCRIPT = """
import sys
from moodlens.base.command import exit_status
def work():
    from compiled import twice
    print(twice(2))
    import matplotlib
    print(matplotlib.get_cachedir())
sys.exit(exit_status(work, kept="all"))
"""


def run(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose compiled code lies in a folder that holds no cache, as a read-only one."""
    code, working = tmp_path / "code", tmp_path / "working"
    code.mkdir()
    working.mkdir()
    (code / "compiled.py").write_text(COMPILED)
    (code / "__pycache__").write_text("no folder: a file in its place holds for every user, root too")
    kept = {name: value for name, value in os.environ.items() if name not in (*CACHES, "XDG_CACHE_HOME")}
    paths = {"PYTHONPATH": os.pathsep.join((str(code), *sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=working, env=kept | paths | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_without_a_home_compiled_code_is_kept_in_the_workspace(tmp_path: Path):
    (tmp_path / "home").write_text("a file, below which no folder can be made")
    done = run(tmp_path, HOME=str(tmp_path / "home"))
    assert (done.returncode, done.stderr) == (0, "")
    cache = tmp_path / "working" / ".cache"
    assert done.stdout.splitlines() == ["4", str(cache / "matplotlib")]
    assert list((cache / "numba").rglob("*.nbi"))


def test_a_folder_that_the_user_named_is_replaced_with_a_line(tmp_path: Path):
    (tmp_path / "home").write_text("")
    named = str(tmp_path / "home" / "numba")
    done = run(tmp_path, HOME=str(tmp_path / "home"), NUMBA_CACHE_DIR=named)
    used = tmp_path / "working" / ".cache" / "numba"
    rule = "NUMBA_CACHE_DIR must name a folder that can be written"
    assert done.returncode == 0
    assert done.stderr == f"{rule}; got '{named}'. {used} is used.\n"


def test_folders_that_can_be_written_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path / "home")})
    use_writable_caches(tmp_path / "spare")
    assert not set(CACHES) & set(os.environ)
    assert not list(tmp_path.iterdir()), "nothing is created to find out"
    (tmp_path / "home").write_text("")
    use_writable_caches(tmp_path / "home" / "spare")
    assert not set(CACHES) & set(os.environ), "a spare folder that cannot be written is of no use"
    use_writable_caches(tmp_path / "spare")
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "spare" / "numba")
