"""Stores that cannot take a run, broken for real: one line; once mended, they take it."""

import contextlib
import ctypes
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from moodlens.stages.track import read_outcome, run
from moodlens.store.tracking import connect
from tests.stages.planted import planted_params
from tests.store.finished import finish

OVERRIDES_PERMISSIONS = (1, 2)
"""Capabilities of root (DAC_OVERRIDE, DAC_READ_SEARCH); without them root obeys file modes too."""
PR_CAPBSET_DROP = 24
SCRIPT = """
from pathlib import Path
from moodlens.stages.track import run
run(None, Path("."))
"""


@contextlib.contextmanager
def locked(database: Path) -> Iterator[str]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield ""


@contextlib.contextmanager
def of_another_version(database: Path) -> Iterator[str]:
    def set_to(revision: str) -> str:
        with closing(sqlite3.connect(database)) as store:
            (before,) = store.execute("SELECT version_num FROM alembic_version").fetchone()
            store.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            store.commit()
        return before

    before = set_to("451aebb31d03")
    yield ""
    set_to(before)


@contextlib.contextmanager
def in_place_of(uri: str) -> Iterator[str]:
    yield uri


FAULTS = {
    "database is locked": locked,
    "is of an older MLflow": of_another_version,
    "MLflow has no store of the kind": lambda _: in_place_of("ftp://host/runs"),
    "names no file that stays": lambda _: in_place_of("sqlite:///:memory:"),
    "sqlite:///file:runs.db?uri=true names no file": lambda _: in_place_of("sqlite:///file:runs.db?uri=true"),
    "connection refused": lambda _: in_place_of("http://127.0.0.1:9"),
    "Invalid IPv6 URL": lambda _: in_place_of("http://[::1"),
    "Port could not be cast": lambda _: in_place_of("postgresql://127.0.0.1:x/runs"),
    "could not convert string to float": lambda _: in_place_of("sqlite:///mlflow.db?timeout=long"),
}
"""Part of the line -> what breaks the store of a workspace, or names another one, and mends it again."""


@pytest.mark.parametrize("said", FAULTS)
def test_a_store_that_cannot_take_the_run_is_one_line_and_costs_no_number(
    said: str,
    with_store: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr("moodlens.store.tracking.PROBE_S", 1)
    root = finish(with_store(tmp_path))
    with FAULTS[said](root / "mlflow.db") as uri, monkeypatch.context() as patch:
        if uri:
            patch.setenv("MLFLOW_TRACKING_URI", uri)
        before = (root / "mlflow.db").read_bytes()
        run(planted_params(), root)
        assert (root / "mlflow.db").read_bytes() == before
    (line,) = capsys.readouterr().out.splitlines()
    assert said in line
    assert line.startswith("track: not logged to MLflow: ")
    assert line.endswith("Nothing is lost; `moodlens track` logs this run later")
    outcome = read_outcome(root)
    assert outcome is not None
    assert not outcome.logged
    assert said in outcome.reason


def limited(root: Path, limit: Callable[[], None]) -> str:
    """Run the stage in a process that `limit` restricts; return the line that it printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=root, env=environment, preexec_fn=limit, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = read_outcome(root)
    assert outcome is not None
    assert not outcome.logged
    (line,) = done.stdout.splitlines()
    return line


def obey_permissions() -> None:
    for capability in OVERRIDES_PERMISSIONS:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def logged_metrics(root: Path) -> dict[str, float]:
    """Log the run now and return its numbers."""
    run(planted_params(), root)
    outcome = read_outcome(root)
    assert outcome is not None
    assert outcome.logged
    return connect(root).get_run(outcome.run_id).data.metrics


@pytest.mark.parametrize(("name", "mode"), [("mlflow.db", 0o444), (".", 0o555)])
def test_a_store_that_is_read_only_is_one_line(
    name: str, mode: int, with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "store"
    folder.mkdir()
    with_store(folder)
    root = finish(tmp_path / "workspace")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    before = (folder / name).stat().st_mode
    (folder / name).chmod(mode)
    try:
        line = limited(root, obey_permissions)
    finally:
        (folder / name).chmod(before)
    assert "read-only" in line
    assert logged_metrics(root)["strength_music"] == 3


def test_a_store_that_is_full_is_one_line(with_store: Callable[[Path], Path], tmp_path: Path):
    root = finish(with_store(tmp_path))
    size = (root / "mlflow.db").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    line = limited(root, limit)
    assert "disk I/O error" in line
    assert logged_metrics(root)["strength_music"] == 3


def test_a_run_is_logged_into_an_experiment_that_had_been_deleted(
    with_store: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = finish(with_store(tmp_path))
    run(planted_params(), root)
    first = read_outcome(root)
    assert first is not None
    connect(root).delete_experiment(first.experiment_id)
    capsys.readouterr()
    finish(root, started_ms=1_800_000_000_000)
    assert logged_metrics(root)["strength_music"] == 3
    assert "the MLflow experiment moodlens had been deleted; it is restored" in capsys.readouterr().out
    second = read_outcome(root)
    assert second is not None
    assert second.experiment_id == first.experiment_id
    assert second.run_id != first.run_id
