"""The command line: the verdict of the last run, and a doctor that names what is missing."""

import json
import shutil
from pathlib import Path

import pytest

from moodlens.cli import __main__ as cli
from moodlens.decision.ladder import RUNGS

ROOT = Path(__file__).parents[2]
NUMBERS = {"accuracy": 0.9, "low": 0.8, "high": 1.0, "p": 0.0005, "effect": 0.1}
WORDS = {"rule": "a rule", "next_step": "the next step", "statistic": "a probe", "more_prompts": None}
RUNG = {"verdict": "strong", "baselines": {}, **NUMBERS, **WORDS}
UNTESTED = RUNG | {"verdict": "untested"} | dict.fromkeys(NUMBERS)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "metrics").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_verdict_prints_every_rung_and_the_report(workspace: Path, capsys: pytest.CaptureFixture[str]):
    decided = {
        "headline": "It reaches the music.",
        "highest_rung": "music",
        "rungs": {name: UNTESTED if name == "use" else RUNG for name in RUNGS},
        "design": {"words": None},
        "findings": {"layers": RUNG, "null_text": None},
    }
    (workspace / "metrics" / "decide.json").write_text(json.dumps(decided))
    assert cli.main(["verdict"]) == 0
    printed = capsys.readouterr().out
    assert "It reaches the music." in printed
    assert all(f"{rung} {name.replace('_', ' ')}" in printed for rung, name in enumerate(RUNGS, start=1))
    assert str(workspace / "reports" / "index.html") in printed


def test_verdict_before_a_run_says_what_to_do(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["verdict"]) == 2
    assert (
        capsys.readouterr().err == "error: metrics/decide.json must exist; got 'nothing'. Run `make repro`.\n"
    )


def test_doctor_names_a_missing_model_and_fails(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "ok  torch" in printed
    assert "!!  model organism" in printed


def test_doctor_passes_in_the_repository(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("DVC_ROOT", str(ROOT))
    monkeypatch.setattr(cli, "NEEDED_GB", 0.0)
    monkeypatch.setattr(cli.plots_page, "is_current", lambda root: True)
    assert cli.main(["doctor"]) == 0
    assert "6 layers x 192" in capsys.readouterr().out
