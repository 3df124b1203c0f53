"""The shell: exit codes and one-line errors, where a stage may run, telemetry off."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from moodlens.base.errors import ContractError, Unsupported, UsageError
from moodlens.stages.shell import CHAPTERS, QUIET, load_params, project_root, read_yaml, run_stage
from moodlens.store.run_record import Run, read_record
from moodlens.store.tables import read_metrics

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def run_cli(*argv: str, cwd: Path) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if k != "DVC_ROOT"} | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", "moodlens.stages", *argv],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_queued_experiment_stays_in_its_copy(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    """DVC then sets DVC_ROOT to the user's workspace and runs the stage in the copy."""
    copy = workspace / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", copy / "params.yaml")
    monkeypatch.chdir(copy)
    assert project_root() == workspace.resolve()
    monkeypatch.setenv("DVC_STAGE", "sae")
    assert project_root() == copy.resolve()


def test_exit_codes(workspace: Path, capsys: pytest.CaptureFixture):
    def contract(*_: object) -> None:
        raise ContractError("clips must be finite; got nan")

    def usage(*_: object) -> None:
        raise UsageError("model.id must be known; got x")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    assert run_stage("probe", lambda: lambda *_: None) == 0
    assert run_stage("probe", lambda: contract) == 1
    assert run_stage("probe", lambda: usage) == 2
    assert run_stage("probe", lambda: interrupted) == 130
    assert capsys.readouterr().err.splitlines()[0] == "error: clips must be finite; got nan"


def test_a_stage_that_ended_well_leaves_the_record_of_its_run_and_no_other_does(workspace: Path):
    def broken(*_: object) -> None:
        raise ContractError("clips must be finite; got nan")

    assert run_stage("probe", lambda: broken) == 1
    assert read_record(workspace, "probe") is None
    assert run_stage("track", lambda: lambda *_: None) == 0
    assert read_record(workspace, "track") is None, "it would change what track itself depends on"
    assert run_stage("probe", lambda: lambda *_: Run("probe", metrics={"accuracy": 0.5})) == 0
    record = read_record(workspace, "probe")
    assert record is not None
    assert record.run == Run("probe", metrics={"accuracy": 0.5})
    assert record.started_ms <= record.ended_ms
    assert record.params["model"]["id"] == "organism"
    assert record.samples


def test_the_first_stage_alone_says_that_git_does_not_tell_the_revision(
    workspace: Path, capsys: pytest.CaptureFixture[str]
):
    """The folder .git is empty; a clone of another owner is the usual case (test_run_record.py)."""
    for name, n_lines in (("inputs", 1), ("probe", 0)):
        assert run_stage(name, lambda: lambda *_: None) == 0
        said = capsys.readouterr().out.splitlines()
        assert len(said) == n_lines
        assert all(line.startswith(f"{name}: this run will name no git revision: not a git") for line in said)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_that_its_data_cannot_support_says_so_and_the_pipeline_goes_on(workspace: Path, name: str):
    """A caption table without mood words ended `attention`, and with it the run, after all generation."""

    def unsupported(*_: object) -> None:
        raise Unsupported("prompts must hold emotion words; got 'none'. Add them.")

    assert run_stage(name, lambda: unsupported) == 0
    metrics = read_metrics(workspace / "metrics" / f"{name}.json")
    assert metrics == {"not_run": "prompts must hold emotion words; got 'none'. Add them."}
    outs = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][name]["outs"]
    wanted = {Path(out).name for out in outs if out.startswith("metrics/")}
    assert {path.name for path in (workspace / "metrics").iterdir()} == wanted
    assert read_record(workspace, name) is not None


def test_a_rung_that_its_data_cannot_support_stops_the_run(workspace: Path):
    def unsupported(*_: object) -> None:
        raise Unsupported("a comparison must have 6 units; got 2. Add prompts.")

    assert run_stage("probe", lambda: unsupported) == 1


def test_a_defect_of_ours_keeps_its_traceback(workspace: Path):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage("probe", lambda: broken)


def test_outside_git_is_one_line_and_exit_2(tmp_path: Path):
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    done = run_cli("prompts", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the working folder must be a git clone")
    assert done.stderr.count("\n") == 1


def test_outside_the_project_is_one_line_and_exit_2(tmp_path: Path):
    done = run_cli("prompts", cwd=tmp_path)
    assert done.returncode == 2
    assert "must hold params.yaml" in done.stderr


def test_an_unknown_stage_names_the_nearest(tmp_path: Path):
    done = run_cli("generat", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: the stage must be one name; got 'generat'. Did you mean 'generate'?\n"


def test_broken_yaml_is_one_line(workspace: Path):
    (workspace / "params.yaml").write_text("model: [\n")
    with pytest.raises(UsageError, match=r"params\.yaml must be valid YAML") as caught:
        load_params(project_root())
    assert "\n" not in str(caught.value)


def test_the_thread_count_is_set_before_the_stage_is_imported(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen = []

    def load() -> Callable[..., None]:
        seen.append(os.environ["OMP_NUM_THREADS"])
        return lambda *_: None

    assert run_stage("probe", load) == 0
    assert seen == ["1"]


def test_telemetry_is_off_for_every_tool():
    assert QUIET["DVC_NO_ANALYTICS"] == QUIET["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "analytics = false" in (ROOT / ".dvc" / "config").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: 2\na: 3\n", "the key a stands twice"),
        (b"s:\n  k: 1\n  k: 2\n", "the key k stands twice"),
        (b"a: \xff\n", "at byte 3"),
        (b"[" * 5000, "nesting without end"),
        (b"a: 2026-13-45\n", "month must be in 1..12"),
        (b"a: " + b"9" * 5000, "digits"),
        (b"a: 1\n---\nb: 2\n", "single document"),
    ],
)
def test_yaml_that_does_not_say_one_thing_is_refused(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=r"params\.yaml must be valid YAML") as caught:
        read_yaml(tmp_path / "params.yaml", "params.yaml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_anchors_and_merges_are_no_repeated_keys(tmp_path: Path):
    (tmp_path / "p.yaml").write_text("a: &x {k: 1, m: 2}\nb: {<<: *x, k: 3}\n")
    assert read_yaml(tmp_path / "p.yaml", "p.yaml") == {"a": {"k": 1, "m": 2}, "b": {"k": 3, "m": 2}}
