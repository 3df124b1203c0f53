"""The experiment `moodlens`: what its page shows, a deleted one, and a clone that was moved."""

import json
import shutil
import zlib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest

from moodlens.decision.ladder import RUNGS as LADDER
from moodlens.store.experiment import NAME, RUNGS, VIEW, open_experiment
from moodlens.store.tracking import connect, tracking_uri


def opened(root: Path) -> str:
    return open_experiment(connect(root), tracking_uri(root))


def test_the_experiment_explains_its_columns_and_opens_on_the_verdicts(
    with_store: Callable[[Path], Path], tmp_path: Path
):
    root = with_store(tmp_path)
    experiment_id = opened(root)
    assert opened(root) == experiment_id
    experiment = connect(root).get_experiment(experiment_id)
    assert experiment.artifact_location == f"file://{tmp_path}/mlartifacts/{NAME}"
    assert "| `verdict.<rung>` |" in experiment.tags["mlflow.note.content"]
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{VIEW}"])
    state = json.loads(zlib.decompress(b64decode(view["state"].removeprefix("deflate;"))))
    assert state["selectedColumns"][:3] == [
        "params.`model.id`",
        "tags.`verdict.text_code`",
        "tags.`verdict.music`",
    ]
    assert state["searchFilter"] == "tags.`moodlens.kind` = 'result'"


def test_the_columns_are_those_of_the_ladder():
    assert tuple(LADDER) == RUNGS


def test_a_deleted_experiment_is_restored_with_a_line(
    with_store: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = with_store(tmp_path)
    experiment_id = opened(root)
    client = connect(root)
    client.delete_experiment(experiment_id)
    assert opened(root) == experiment_id
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"
    assert "the MLflow experiment moodlens had been deleted; it is restored" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["move", "copy"])
def test_artifacts_follow_a_clone_that_is_moved_or_copied(
    way: str, with_store: Callable[[Path], Path], tmp_path: Path
):
    """The old place exists again afterwards, as a fresh clone would; nothing may be written there."""
    old, new = tmp_path / "a 100% old clone", tmp_path / "new"
    old.mkdir()
    client = connect(with_store(old))
    before = client.create_run(opened(old)).info.run_id
    client.log_text(before, "kept", "note.txt")
    shutil.copytree(old, new)
    if way == "move":
        shutil.rmtree(old)
        old.mkdir()
    files = sorted(old.rglob("*"))

    moved = connect(new)
    after = moved.create_run(opened(new)).info.run_id
    moved.log_text(after, "new", "note.txt")
    assert sorted(old.rglob("*")) == files
    for run_id, text in ((before, "kept"), (after, "new")):
        uri = moved.get_run(run_id).info.artifact_uri
        assert uri == f"{new.as_uri()}/mlartifacts/{NAME}/{run_id}/artifacts"
        assert (new / "mlartifacts" / NAME / run_id / "artifacts" / "note.txt").read_text() == text


def test_a_place_that_the_user_chose_is_left(with_store: Callable[[Path], Path], tmp_path: Path):
    root = with_store(tmp_path)
    client = connect(root)
    client.create_experiment(NAME, artifact_location="s3://bucket/mlartifacts/moodlens")
    assert client.get_experiment(opened(root)).artifact_location == "s3://bucket/mlartifacts/moodlens"
