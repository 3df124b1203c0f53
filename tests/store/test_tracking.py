"""The MLflow store: where it is, also for queued runs; one line for each reason why it cannot take runs."""

import contextlib
import multiprocessing
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from moodlens.store.tracking import StoreFault, absolute, connect, home_of, reason_of, shown, tracking_uri


def create(root: Path) -> None:
    """Create the store of a workspace, in a process of its own."""
    client = connect(root)
    assert client.search_experiments()


def queued(root: Path) -> Path:
    copy = root / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    copy.mkdir(parents=True)
    return copy


def fault(root: Path) -> str:
    with pytest.raises(StoreFault) as caught:
        connect(root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_queued_experiment_uses_the_users_own_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert home_of(queued(tmp_path)) == tmp_path
    assert tracking_uri(tmp_path / ".dvc/tmp/exps/standalone/tmp1") == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize(
    ("given", "is_at"),
    [
        ("sqlite:///runs.db", "sqlite:///{home}/runs.db"),
        ("sqlite:///runs.db?timeout=9", "sqlite:///{home}/runs.db?timeout=9"),
        ("sqlite:////srv/runs.db", "sqlite:////srv/runs.db"),
        ("./mlruns", "{home}/mlruns"),
        ("/srv/mlruns", "/srv/mlruns"),
        ("file:mlruns", "file://{home}/mlruns"),
        ("file:///srv/mlruns", "file:///srv/mlruns"),
        ("http://host:5000", "http://host:5000"),
        ("postgresql://host/runs", "postgresql://host/runs"),
        ("databricks", "databricks"),
    ],
)
def test_relative_paths_are_taken_from_the_users_workspace(
    given: str, is_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    monkeypatch.chdir("/")
    expected = is_at.format(home=tmp_path)
    assert tracking_uri(tmp_path) == expected
    assert tracking_uri(queued(tmp_path)) == expected
    assert absolute(expected, Path("/elsewhere")) == expected


def test_passwords_are_not_shown():
    assert shown("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert "secret" not in reason_of(OSError("cannot reach https://me:secret@host"))


def test_two_processes_create_one_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=create, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_locked_database_is_reported_and_not_waited_for(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("moodlens.store.tracking.PROBE_S", 0.2)
    root = with_store(tmp_path)
    with closing(sqlite3.connect(root / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert fault(root) == f"{root}/mlflow.db: database is locked"


@pytest.mark.parametrize(
    ("revision", "expected"),
    [("451aebb31d03", "is of an older MLflow"), ("ffffffffffff", "is of a newer MLflow")],
)
def test_a_database_of_another_mlflow_is_left_as_it_is(
    revision: str, expected: str, with_store: Callable[[Path], Path], tmp_path: Path
):
    """MLflow itself would start to migrate the older one: there is no table yet that it needs."""
    path = with_store(tmp_path) / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.execute("DROP TABLE logged_models")
        database.commit()
    before = path.read_bytes()
    assert expected in fault(tmp_path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///songs.db")
    with closing(sqlite3.connect(tmp_path / "songs.db")) as database:
        database.execute("CREATE TABLE songs (name TEXT)")
    before = (tmp_path / "songs.db").read_bytes()
    assert "songs.db is a database of another program" in fault(tmp_path)
    (tmp_path / "songs.db").write_text("a poem, not a database" * 100)
    assert "file is not a database" in fault(tmp_path)
    assert before != b""


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://127.0.0.1:{free}", "connection refused"),
        ("http://127.0.0.1:{silent}", "no answer within 5 s"),
        ("postgresql://me:secret@127.0.0.1:{free}/runs", "connection refused"),
        ("ftp://host/runs", "no store of the kind that MLFLOW_TRACKING_URI names"),
        ("./mlruns", "MLFLOW_ALLOW_FILE_STORE=true"),
        ("sqlite:////proc/none/runs.db", "cannot be created"),
    ],
)
def test_a_store_that_does_not_answer_is_one_line_after_one_attempt(
    uri: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    with socket.socket() as free, socket.socket() as silent:
        free.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and never answers
        address = uri.format(free=free.getsockname()[1], silent=silent.getsockname()[1])
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        message = fault(tmp_path)
        silent.setblocking(False)
        attempts = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                attempts += 1
    assert expected in message
    assert "secret" not in message
    assert attempts == (1 if "{silent}" in uri else 0), "a probe does not retry"


def test_a_folder_as_store_works_where_mlflow_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    assert connect(tmp_path).search_experiments()
    assert (tmp_path / "mlruns").is_dir()
    shutil.rmtree(tmp_path / "mlruns")
