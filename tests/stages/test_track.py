"""Stage `track`: every run once, also where MLflow fails, and no pointer is followed into another store."""

import json
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from moodlens.stages import track as stage
from moodlens.stages.track import Outcome, followed, outcome_path, read_outcome, run, write_outcome
from moodlens.store import registry
from moodlens.store.registry import champion
from moodlens.store.tracking import connect, tracking_uri
from tests.stages.planted import planted_params
from tests.store.finished import REVISION, T0_MS, finish

SITES = ("residual.1", "text")
MODELS = ("moodlens-sae-organism-residual.1", "moodlens-sae-organism-text")


def tracked(root: Path) -> Outcome:
    """Run the stage and return what it wrote."""
    run(planted_params(), root)
    outcome = read_outcome(root)
    assert outcome is not None
    return outcome


def results(root: Path) -> list[Any]:
    client = connect(root)
    experiment = client.get_experiment_by_name("moodlens")
    return client.search_runs([experiment.experiment_id], "tags.`moodlens.kind` = 'result'")


def versions(root: Path) -> dict[str, Any]:
    return {f"{entry.name}/{entry.version}": entry for entry in connect(root).search_model_versions("")}


def test_a_run_is_logged_once_with_its_saes_and_their_lineage(
    with_store: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = finish(with_store(tmp_path), saes=SITES)
    outcome = tracked(root)
    assert outcome.logged
    assert outcome.store == f"sqlite:///{tmp_path}/mlflow.db"
    assert outcome.url is None
    assert f"track: organism @ {REVISION[:7]} is in MLflow" in capsys.readouterr().out
    assert [sae.site for sae in outcome.saes] == list(SITES)
    client = connect(root)
    assert [champion(client, model) for model in MODELS] == ["1", "1"]
    entry = client.get_model_version(MODELS[0], "1")
    of_site = client.get_run(entry.run_id)
    assert of_site.info.run_name == "sae/residual.1"
    assert of_site.info.end_time == T0_MS + 2 * 61_000 + 60_000, "not the time of registration"
    assert entry.tags["result.run_id"] == outcome.run_id
    assert entry.tags["git.revision"] == REVISION
    assert set(entry.tags) >= {
        "run_id",
        "model.id",
        "model.weights",
        "input.data/activations",
        "output.models/sae",
    }
    assert "# SAE of residual.1, organism" in entry.description
    assert f"| input.data/activations | `{entry.tags['input.data/activations']}` |" in entry.description

    assert tracked(root) == outcome
    assert "is in MLflow already" in capsys.readouterr().out
    assert len(results(root)) == 1
    assert set(versions(root)) == {f"{model}/1" for model in MODELS}


def test_saes_that_a_later_result_reuses_get_no_second_version(
    with_store: Callable[[Path], Path], tmp_path: Path
):
    root = finish(with_store(tmp_path), saes=SITES[:1])
    tracked(root)
    second = tracked(finish(root, saes=SITES[:1], started_ms=T0_MS + 10**6, passed=False))
    assert len(results(root)) == 2
    assert [sae.version for sae in second.saes] == ["1"]
    third = tracked(finish(root, saes=SITES[:1], started_ms=T0_MS + 2 * 10**6, seed=1, passed=False))
    assert [sae.version for sae in third.saes] == ["2"]
    assert champion(connect(root), MODELS[0]) == "1", "a version whose gate is closed leaves the champion"


def test_a_server_that_is_down_costs_one_line_and_the_run_can_be_logged_later(
    with_store: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    root = finish(with_store(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        outcome = tracked(root)
    assert (outcome.logged, outcome.run_id, outcome.reason) == (False, "", "connection refused")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("Nothing is lost; `moodlens track` logs this run later")
    assert "secret" not in lines[0] + outcome_path(root).read_text()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracked(root).logged


def test_a_store_that_fails_halfway_leaves_no_half_result(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = finish(with_store(tmp_path), saes=SITES)

    def fail(*_: object) -> None:
        raise MlflowException("the connection was lost\nand a traceback follows")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "judge", fail)  # one SAE is registered by then
        outcome = tracked(root)
    assert (outcome.logged, outcome.reason) == (False, "the connection was lost and a traceback follows")
    assert [found.info.status for found in results(root)] == ["RUNNING"]
    assert tracked(root).logged
    assert [found.info.status for found in results(root)] == ["FINISHED"]
    now = versions(root)
    assert {name.rpartition("/")[0] for name in now} == set(MODELS)
    assert len(now) == 2, "the version of the interrupted attempt is gone"
    client = connect(root)
    assert {client.get_run(entry.run_id).info.lifecycle_stage for entry in now.values()} == {"active"}


def test_a_fault_of_our_own_is_not_taken_for_one_of_the_store(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = finish(with_store(tmp_path))
    monkeypatch.setattr(stage, "log_result", lambda *_: {}["absent"])
    with pytest.raises(KeyError):
        run(planted_params(), root)


def test_pointers_are_followed_in_their_own_store_only(
    with_store: Callable[[Path], Path], tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
):
    root = finish(with_store(tmp_path), saes=SITES)
    outcome = tracked(root)
    client, uri = connect(root), tracking_uri(root)
    assert followed(client, uri, outcome) == outcome
    strange = tmp_path / "strange.db"
    for source in (empty_database, root / "mlflow.db"):  # the latter has the same ids, and other results
        shutil.copyfile(source, strange)
        with closing(sqlite3.connect(strange)) as store:
            store.execute("UPDATE tags SET value = 'of another' WHERE key = 'moodlens.records'")
            store.commit()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{strange}")
        before = strange.read_bytes()
        assert followed(connect(root), tracking_uri(root), outcome) is None
        assert strange.read_bytes() == before
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    raw = json.loads(outcome_path(root).read_text())
    lies = {"digest": "f" * 32, "run_id": "0" * 32, "logged": False, "experiment_id": "99"}
    for key, value in (*lies.items(), ("digest", "x' or '"), ("run_id", 5)):
        outcome_path(root).write_text(json.dumps({**raw, key: value}))
        assert followed(client, uri, read_outcome(root)) is None, key
    swapped = {**raw, "saes": [{**raw["saes"][0], "content": "0" * 64}, raw["saes"][1]]}
    outcome_path(root).write_text(json.dumps(swapped))
    known = followed(client, uri, read_outcome(root))
    assert known is not None
    assert [sae.site for sae in known.saes] == [SITES[1]], "the version with other weights is left out"


def test_pointers_are_followed_after_the_clone_was_moved(with_store: Callable[[Path], Path], tmp_path: Path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    outcome = tracked(finish(with_store(old), saes=SITES))
    old.rename(new)
    moved = followed(connect(new), tracking_uri(new), read_outcome(new))
    assert moved == replace(outcome, store=f"sqlite:///{new}/mlflow.db")
    assert tracked(new).run_id == outcome.run_id
    assert not old.exists()


def test_the_champion_of_another_owners_model_is_left_in_a_shared_store(
    with_store: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both ids end in `tune`, and so did the names of their SAEs."""
    root = with_store(tmp_path)
    tracked(finish(root, "them/tune", saes=SITES[1:]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
    before = versions(root)
    (theirs,) = before
    own = tracked(finish(tmp_path / "mine", "me/tune", saes=SITES[1:], seed=1)).saes[0]
    client = connect(root)
    assert theirs == "moodlens-sae-tune-text/1"
    assert champion(client, "moodlens-sae-tune-text") == "1"
    assert client.get_model_version("moodlens-sae-tune-text", "1").tags == before[theirs].tags
    assert own.model.startswith("moodlens-sae-tune-text-")
    assert champion(client, own.model) == "1"
    assert tracked(tmp_path / "mine").saes == (own,), "it is found again"


def test_a_result_that_the_user_deleted_is_logged_again(with_store: Callable[[Path], Path], tmp_path: Path):
    root = finish(with_store(tmp_path))
    outcome = tracked(root)
    connect(root).delete_run(outcome.run_id)
    again = tracked(root)
    assert again.run_id != outcome.run_id
    assert [found.info.run_id for found in results(root)] == [again.run_id]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"logged": true, "saes": [{"x": 1}]}'])
def test_a_damaged_pointer_counts_as_none(content: str, tmp_path: Path):
    write_outcome(tmp_path, Outcome(False, "sqlite:///x", "d"))
    assert read_outcome(tmp_path) is not None
    outcome_path(tmp_path).write_text(content)
    assert read_outcome(tmp_path) is None
