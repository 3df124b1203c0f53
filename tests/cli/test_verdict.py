"""`moodlens verdict`: the verdict of the run in this workspace, never somebody else's."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from moodlens.cli import __main__ as cli
from moodlens.cli import publish
from moodlens.decision.ladder import RUNGS
from moodlens.store.run_record import Input, Record, file_md5, write_record

ROOT = Path(__file__).parents[2]
NUMBERS = {"accuracy": 0.9, "low": 0.8, "high": 1.0, "p": 0.0005, "effect": 0.1}
WORDS = {"rule": "a rule", "next_step": "the next step", "statistic": "a probe", "more_wordings": None}
RUNG = {"verdict": "strong", "baselines": {}, **NUMBERS, **WORDS}
UNTESTED = RUNG | {"verdict": "untested"} | dict.fromkeys(NUMBERS)
DECIDED = {
    "headline": "It reaches the music.",
    "highest_rung": "music",
    "rungs": {name: UNTESTED if name == "use" else RUNG for name in RUNGS},
    "design": {"words": None},
    "findings": {"layers": RUNG, "null_text": None},
}
OVERVIEW = {"0_verdict": {"1_text_code": 3, "2_music": 3}, "2_design": {"n_prompts": 64, "words": 0.123456}}
REVISION = "0123456789abcdef"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace as `git clone` makes it: the published verdict is there, and nothing has run."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "decide.json").write_text(json.dumps(DECIDED))
    (tmp_path / "metrics" / "overview.json").write_text(json.dumps(OVERVIEW))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def finished(workspace: Path) -> Path:
    """The same workspace after a run."""
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    weights = workspace / "model.safetensors"
    weights.write_bytes(b"weights")
    seen = Input("model.safetensors", file_md5(weights), 7)
    record = Record("decide", 0, 1_767_323_040_000, REVISION, "", params, ())
    write_record(workspace, record)
    write_record(workspace, replace(record, stage="generate", inputs=(seen,)))
    write_record(workspace, replace(record, stage="report"))
    locked = {"path": "metrics/decide.json", "md5": file_md5(workspace / "metrics" / "decide.json")}
    (workspace / "dvc.lock").write_text(yaml.safe_dump({"stages": {"decide": {"outs": [locked]}}}))
    (workspace / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"decide": {"outs": [locked["path"]]}}}))
    return workspace


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        assert cli.main(["verdict", *words]) == status
        return capsys.readouterr().out

    return run


def test_a_clone_that_ran_nothing_has_no_verdict(workspace: Path, printed: Callable[..., str]):
    assert printed(status=1) == "no run here yet: `make repro` makes one\n"
    assert json.loads(printed("--json", status=1))["run"] is None


def test_the_verdict_says_which_run_it_is_of(finished: Path, printed: Callable[..., str]):
    text = printed()
    first = "organism, 64 prompts x 2 seeds, run at git 0123456, 2026-01-02 03:04 UTC\n"
    assert text.startswith(first)
    assert "It reaches the music." in text
    assert all(f"{rung} {name.replace('_', ' ')}" in text for rung, name in enumerate(RUNGS, start=1))
    assert "Report: none; `dvc repro report` makes it" in text
    (finished / "reports").mkdir()
    (finished / "reports" / "index.html").write_text("page")
    assert f"Report: {finished / 'reports' / 'index.html'}" in printed()


def test_a_verdict_of_other_parameters_says_so(finished: Path, printed: Callable[..., str]):
    params = yaml.safe_load((finished / "params.yaml").read_text())
    params["model"]["id"] = "organism-random"
    params["generate"]["guidance_scale"] = 1.0
    params["compute"]["workers"] = 7
    (finished / "params.yaml").write_text(yaml.safe_dump(params))
    (line,) = [line for line in printed().splitlines() if line.startswith("NOT of this workspace")]
    assert 'model.id "organism" -> "organism-random"' in line
    assert "generate.guidance_scale 3.0 -> 1.0" in line
    assert "workers" not in line, "no result depends on the number of workers"
    assert line.endswith("Run `dvc repro`")


def test_a_verdict_of_other_weights_or_another_file_says_so(finished: Path, printed: Callable[..., str]):
    (finished / "model.safetensors").write_bytes(b"other weights")
    assert "model.safetensors was replaced" in printed()
    (finished / "metrics" / "decide.json").write_text(json.dumps(DECIDED | {"headline": "Another."}))
    assert "metrics/decide.json is another one than dvc.lock names" in printed()


def test_json_holds_the_run_and_every_number(finished: Path, printed: Callable[..., str]):
    read = json.loads(printed("--json"))
    assert read["run"]["model"] == "organism"
    assert read["run"]["changed"] == []
    assert read["decision"] == DECIDED
    assert read["overview"] == OVERVIEW


def test_a_reader_that_closes_the_pipe_is_no_error(finished: Path):
    longer_than_a_pipe_holds = DECIDED | {"headline": "x" * 500_000}
    (finished / "metrics" / "decide.json").write_text(json.dumps(longer_than_a_pipe_holds))
    command = f"{sys.executable} -m moodlens.cli verdict --json"
    source = str(ROOT / "src")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -c 1"],
        cwd=finished,
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("{", "")
    assert done.returncode == 0


def test_a_run_is_compared_with_the_published_one(finished: Path, printed: Callable[..., str]):
    publish.publish(finished)
    overview = finished / "metrics" / "overview.json"
    assert "same verdict as the published run; all 34 published numbers are equal" in printed()
    last_digit = OVERVIEW | {"2_design": {"n_prompts": 64, "words": 0.123461}}
    overview.write_text(json.dumps(last_digit))
    assert "1 of 34 published numbers differ, the most overview.json.2_design.words: 0.1235" not in printed()
    moved = OVERVIEW | {"2_design": {"n_prompts": 64, "words": 0.124}}
    overview.write_text(json.dumps(moved))
    assert "1 of 34 published numbers differ, the most overview.json.2_design.words: 0.1235" in printed()
    weaker = OVERVIEW | {"0_verdict": {"1_text_code": 3, "2_music": 2}}
    overview.write_text(json.dumps(weaker))
    assert "ANOTHER VERDICT than the published run" in printed()


def test_a_run_with_other_parameters_is_not_compared(finished: Path, printed: Callable[..., str]):
    publish.publish(finished)
    about = finished / "docs" / "published" / "run.json"
    published = json.loads(about.read_text())
    published["params"]["generate"]["seed"] = 99
    about.write_text(json.dumps(published))
    assert "published" not in printed()


def test_nothing_is_published_before_a_run(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["publish"]) == 2
    assert "a published run must be finished here; got 'none'" in capsys.readouterr().err
