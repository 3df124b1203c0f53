"""`moodlens track` and `moodlens ui`: what they print, and what DVC says afterwards."""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from moodlens.base.errors import UsageError
from moodlens.cli import track as cli
from moodlens.stages.track import read_outcome, track, write_outcome
from moodlens.store.experiment import VIEW
from tests.store.finished import T0_MS, finish


def command(root: Path, name: str, port: int = 5000) -> tuple[str, bool]:
    return cli.run(argparse.Namespace(command=name, port=port), root)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_a_run_is_logged_later_and_logging_it_again_changes_nothing(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = finish(with_store(tmp_path))
    (root / "dvc.lock").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    text, logged = command(root, "track")
    assert not logged
    assert text.startswith("not logged to MLflow: connection refused.")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert command(root, "track")[1]
    first = read_outcome(root)
    text, logged = command(root, "track")
    assert logged
    assert text == "organism @ 0123456 is in MLflow already; `make ui` shows it"
    assert read_outcome(root) == first


def test_before_any_run_both_say_what_to_do(with_store: Callable[[Path], Path], tmp_path: Path):
    root = with_store(tmp_path)
    with pytest.raises(UsageError, match="Run `make repro`"):
        command(root, "track")
    assert "No run in sqlite:///" in cli.pages(*store_of(root), root, "http://host")


def store_of(root: Path) -> tuple:
    from moodlens.store.tracking import connect, tracking_uri

    return connect(root), tracking_uri(root)


def test_pages_name_the_runs_and_only_those_of_this_store(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = with_store(tmp_path)
    twin = finish(
        tmp_path / "twin", "organism-shuffled", "none", started_ms=T0_MS + 10**6, experiment="calm-tuna"
    )
    finish(root, saes=["text"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
    for workspace in (root, twin):
        write_outcome(workspace, track(workspace)[0])
    text = cli.pages(*store_of(root), root, "http://host")
    own = read_outcome(root)
    assert own is not None
    assert f"/runs?workflowType=machine_learning&viewStateShareKey={VIEW}" in text
    assert "What differs between calm-tuna and organism @ 0123456?" in text
    assert f"/#/experiments/{own.experiment_id}/runs/{own.run_id}?workflowType=machine_learning" in text
    assert "http://host/#/models/moodlens-sae-organism-text/versions/1?" in text
    assert '"' not in text, "an address with quotes breaks where a terminal marks it"
    write_outcome(root, track(twin)[0])
    (root / "reports" / "mlflow.json").write_text("{}")
    text = cli.pages(*store_of(root), root, "http://host")
    assert "The run of this workspace is not in this store: `moodlens track` logs it." in text


def test_ui_becomes_the_server_of_the_resolved_store(
    with_store: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    root = with_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")

    class Replaced(Exception):
        pass

    def replace(path: str, argv: list[str], environment: dict[str, str]) -> None:
        assert path == sys.executable
        assert argv[argv.index("--backend-store-uri") + 1] == f"sqlite:///{root}/mlflow.db"
        assert argv[argv.index("--port") + 1] == str(port)
        assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        raise Replaced

    monkeypatch.setattr(os, "execve", replace)
    port = free_port()
    with pytest.raises(Replaced):
        command(root, "ui", port)
    assert "No run in sqlite:///" in capsys.readouterr().out
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} must be free.*moodlens ui --port {port + 1}"):
            command(root, "ui", port)


def test_ui_on_a_store_that_is_down_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UsageError, match="the MLflow store must be usable; got 'connection refused'"):
        command(tmp_path, "ui")


def test_the_state_of_the_store_is_told_before_any_work(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert cli.state_of_store(tmp_path) == ("made by the first run", "")
    assert not (tmp_path / "mlflow.db").exists()
    root = with_store(tmp_path)
    assert cli.state_of_store(root) == (f"sqlite:///{root}/mlflow.db takes runs", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    state, advice = cli.state_of_store(root)
    assert state == "takes no run now"
    assert advice.startswith("MLflow: connection refused. Runs end well without it; `moodlens track`")


@pytest.mark.pipeline
def test_dvc_has_nothing_to_run_again_after_a_run_was_logged_later(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = finish(with_store(tmp_path))
    (root / "dvc.lock").unlink()
    stage = {"cmd": "true", "deps": ["data/runs"], "outs": ["reports/mlflow.json"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"track": stage}}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    write_outcome(root, track(root)[0])
    dvc = [sys.executable, "-m", "dvc"]
    for argv in (["git", "init", "-q"], [*dvc, "init", "-q"], [*dvc, "commit", "-q", "-f"]):
        subprocess.run(argv, cwd=root, check=True, capture_output=True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert command(root, "track")[1]
    done = subprocess.run([*dvc, "status"], cwd=root, capture_output=True, text=True, check=True)
    assert "up to date" in done.stdout
