"""The command line: a doctor that names what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from moodlens.cli import __main__ as cli

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_doctor_names_a_missing_model_and_fails(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "ok  torch" in printed
    assert "!!  model organism" in printed
    assert "!!  git revision" in printed, "the folder .git is empty"


def test_doctor_says_that_queued_runs_do_not_see_an_untracked_table(
    workspace: Path, capsys: pytest.CaptureFixture[str]
):
    subprocess.run(["git", "init", "-q"], cwd=workspace, check=True)
    (workspace / "mine.csv").write_text("caption\n")
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("data/captions.csv", "mine.csv"))
    cli.main(["doctor"])
    line = next(line for line in capsys.readouterr().out.splitlines() if "prompts.table_path" in line)
    assert line.startswith("ok")
    assert "queued runs do not see mine.csv; `git add mine.csv`" in line


def test_doctor_passes_in_the_repository(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("DVC_ROOT", str(ROOT))
    monkeypatch.setattr(cli, "NEEDED_GB", 0.0)
    monkeypatch.setattr(cli.dvc_page, "is_current", lambda root: True)
    assert cli.main(["doctor"]) == 0
    assert "6 layers x 192" in capsys.readouterr().out
