"""Records of stages: written and read whole, and inputs as DVC itself would name them."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from moodlens.base.errors import ContractError
from moodlens.store.run_record import (
    Input,
    Record,
    Run,
    Sample,
    datasets_behind,
    experiment_name,
    file_md5,
    git_fault,
    groups,
    inputs_of,
    locked_outputs,
    read_record,
    record_path,
    revision_of,
    stage_run,
    write_record,
)
from tests.stages.planted import planted_params

PARAMS = {"prompts": {"table_path": "data/captions.csv"}}
STAGES: dict[str, dict[str, list[Any]]] = {
    "prompts": {"deps": ["src/moodlens/base", "${prompts.table_path}"], "outs": ["data/prompts.csv"]},
    "signal": {
        "deps": ["constraints.txt", "data/prompts.csv", "metrics/check.json"],
        "outs": ["metrics/signal.json", {"metrics/signal.csv": {"cache": False}}, "data/runs/signal.json"],
    },
    "sae": {"deps": ["data/prompts.csv"], "outs": ["data/sae", "metrics/sae.json"]},
    "report": {
        "deps": ["metrics", "data/sae"],
        "metrics": ["metrics/overview.json"],
        "outs": ["reports/a.html"],
    },
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace after a whole run: dvc.lock holds outputs of every stage, also of later ones."""
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for stage in STAGES.values()
        for kind in ("outs", "metrics")
        for out in stage.get(kind, [])
    ]
    files = [out for out in outs if out != "data/sae"]
    files += ["data/captions.csv", "metrics/check.json", "metrics/calibration.json", "data/sae/rows.bin"]
    files += ["constraints.txt", "src/moodlens/base/units.py", "metrics/.gitkeep"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"content of {name}")
    lock = {
        stage: {"outs": [entry(tmp_path, out) for kind in ("outs", "metrics") for out in made.get(kind, [])]}
        for stage, made in STAGES.items()
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": lock}))
    return tmp_path


def entry(root: Path, out: str | dict[str, Any]) -> dict[str, Any]:
    path = out if isinstance(out, str) else next(iter(out))
    if (root / path).is_dir():
        return {"path": path, "md5": "0" * 32 + ".dir", "size": 99}
    return {"path": path, "md5": md5_of(root, path), "size": (root / path).stat().st_size}


def md5_of(root: Path, path: str) -> str:
    return hashlib.md5((root / path).read_bytes()).hexdigest()


def test_a_record_is_read_as_it_was_written(tmp_path: Path):
    layer = Run("layer 0", metrics={"accuracy": 0.5}, curves={"loss": [2.0, 1.0]})
    run = Run("probe", {"probe": {"ridge": 0.1}}, {"p": 0.01}, tags={"a": "b"}, children=(layer,))
    samples = (Sample(5, 99.5, 300.0),)
    record = Record(
        "probe", 1, 60_002, "abc", "calm-cod", PARAMS, (Input("data/x", "0" * 32, 4),), samples, run
    )
    write_record(tmp_path, record)
    assert read_record(tmp_path, "probe") == record
    assert record.ended == "1970-01-01 00:01 UTC"
    assert not [path for path in record_path(tmp_path, "probe").parent.iterdir() if path.suffix == ".tmp"]
    assert read_record(tmp_path, "signal") is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"stage": "probe", "inputs": [], "samples": [], "run": null}']
)
def test_a_damaged_record_is_one_line_with_the_next_step(content: str, tmp_path: Path):
    record_path(tmp_path, "probe").parent.mkdir(parents=True)
    record_path(tmp_path, "probe").write_text(content)
    with pytest.raises(
        ContractError, match=r"probe\.json must be the record of a stage.*`dvc repro -f probe`"
    ):
        read_record(tmp_path, "probe")


def test_inputs_are_the_stages_own_dependencies_not_what_was_made_from_it(workspace: Path):
    """dvc.lock still holds data/sae and metrics/sae.json, which an earlier run made after `signal`."""
    given = {found.path: found for found in inputs_of(workspace, "signal", PARAMS)}
    assert set(given) == {"data/prompts.csv", "metrics/check.json"}
    for path, found in given.items():
        assert found.md5 == md5_of(workspace, path)
        assert found.size == (workspace / path).stat().st_size
    (captions,) = inputs_of(workspace, "prompts", PARAMS)
    assert captions.path == "data/captions.csv", "the path stands in the parameters"


def test_a_folder_gives_its_files_without_the_stages_own_output(workspace: Path):
    given = {found.path: found.md5 for found in inputs_of(workspace, "report", PARAMS)}
    names = ("signal.json", "signal.csv", "sae.json", "check.json", "calibration.json")
    assert given == {
        "data/sae": "0" * 32 + ".dir",
        **{f"metrics/{name}": md5_of(workspace, f"metrics/{name}") for name in names},
    }


def test_the_hash_of_another_stages_output_is_that_of_dvc_lock(workspace: Path):
    lock = (workspace / "dvc.lock").read_text()
    (workspace / "dvc.lock").write_text(lock.replace(md5_of(workspace, "data/prompts.csv"), "f" * 32))
    given = {found.path: found.md5 for found in inputs_of(workspace, "sae", PARAMS)}
    assert given == {"data/prompts.csv": "f" * 32}


def test_an_output_that_another_stage_made_once_is_not_taken_for_todays(workspace: Path):
    """dvc.lock keeps an output under its former stage until that stage runs again."""
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())
    former = {"path": "data/prompts.csv", "md5": "0" * 32, "size": 1}
    lock["stages"]["report"] = {"outs": [former], **lock["stages"].get("report", {})}
    lock["stages"]["gone"] = {"outs": [former]}
    lock["stages"]["report"]["outs"] = [*lock["stages"]["report"]["outs"], former]
    (workspace / "dvc.lock").write_text(yaml.safe_dump(lock))
    read = {entry.path: entry.md5 for entry in inputs_of(workspace, "signal", {})}
    assert read["data/prompts.csv"] != former["md5"]


def test_a_file_outside_the_workspace_is_named_by_its_whole_path(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory
):
    outside = tmp_path_factory.mktemp("elsewhere") / "captions.csv"
    outside.write_text("caption\n")
    params = {"prompts": {"table_path": str(outside)}}
    (captions,) = inputs_of(workspace, "prompts", params)
    assert (captions.path, captions.md5) == (outside.as_posix(), file_md5(outside))


def test_outside_a_pipeline_there_are_no_inputs(workspace: Path, tmp_path: Path):
    assert inputs_of(workspace, "absent", PARAMS) == ()
    (workspace / "dvc.yaml").unlink()
    assert inputs_of(workspace, "signal", PARAMS) == ()


def test_locked_outputs_are_of_the_stages_named(workspace: Path):
    assert set(locked_outputs(workspace, "sae")) == {"data/sae", "metrics/sae.json"}
    assert set(locked_outputs(workspace, "sae", "prompts", "absent")) == {
        "data/prompts.csv",
        "data/sae",
        "metrics/sae.json",
    }


def test_datasets_behind_a_stage_come_from_stages_before_it(workspace: Path):
    assert set(datasets_behind(workspace, "report")) == {"data/prompts.csv", "data/sae"}
    assert set(datasets_behind(workspace, "sae")) == {"data/prompts.csv"}


def test_the_run_of_a_stage_holds_its_sections_and_its_numbers():
    params = planted_params()
    metrics = {"layers": {"p": 0.5, "best": "residual.1", "n": 3}, "n_prompts": 64, "icc": None}
    run = stage_run("signal", params, metrics, also=("reencode",))
    assert run.name == "signal"
    assert dict(run.metrics) == {"layers.p": 0.5, "layers.n": 3.0, "n_prompts": 64.0}
    assert list(run.params) == ["signal", "reencode", "model"]
    assert run.params["signal"] == vars(params.signal)
    assert stage_run("signal", params, groups(metrics)).metrics == {"layers.p": 0.5, "layers.n": 3.0}


def test_revision_and_experiment_are_empty_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert revision_of(tmp_path) == experiment_name() == ""
    assert git_fault(tmp_path) == "not a git repository (or any of the parent directories): .git"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert revision_of(tmp_path) == "", "a repository without a commit; git prints HEAD"
    assert git_fault(tmp_path) != ""
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], cwd=tmp_path, check=True)
    assert len(revision_of(tmp_path)) == 40
    assert git_fault(tmp_path) == ""
    monkeypatch.setenv("DVC_EXP_NAME", "calm-cod")
    assert experiment_name() == "calm-cod"


def test_a_clone_of_another_owner_has_no_revision_and_the_reason_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for argv in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *argv], cwd=tmp_path, check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    assert revision_of(tmp_path) == ""
    fault = git_fault(tmp_path)
    assert fault.startswith(f"detected dubious ownership in repository at '{tmp_path}'. Run `git config")
    assert fault.endswith(f"safe.directory {tmp_path}`")
    monkeypatch.setenv("PATH", "")
    assert git_fault(tmp_path) == "git cannot be run: No such file or directory"
    assert revision_of(tmp_path) == ""


def test_a_record_is_plain_json(tmp_path: Path):
    write_record(tmp_path, Record("probe", 1, 2, "", "", {}, ()))
    assert json.loads(record_path(tmp_path, "probe").read_text())["run"] is None
    assert file_md5(record_path(tmp_path, "probe")) == md5_of(tmp_path, "data/runs/probe.json")
