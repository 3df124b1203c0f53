"""A result in MLflow: one run, its stages below it with their own times and inputs, and no run twice."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from moodlens.store.experiment import KIND, open_experiment
from moodlens.store.logged_result import (
    CPU,
    MEMORY,
    LoggedResult,
    discard,
    find_result,
    finish,
    log_result,
)
from moodlens.store.result import Result, read_result
from moodlens.store.tracking import connect, tracking_uri
from tests.store import finished
from tests.store.finished import PIPELINE, T0_MS


class Store:
    """A workspace with one logged result, and what the store has of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.client = root, connect(root)
        self.experiment_id = open_experiment(self.client, tracking_uri(root))
        self.result: Result = read_result(root)
        self.logged: LoggedResult = log_result(self.client, self.experiment_id, self.result, root)

    def runs(self, **tags: str) -> list[Any]:
        query = " and ".join(f"tags.`{key.replace('__', '.')}` = '{value}'" for key, value in tags.items())
        return list(self.client.search_runs([self.experiment_id], query))

    def below(self, run_id: str) -> dict[str, Any]:
        return {run.info.run_name: run for run in self.runs(mlflow__parentRunId=run_id)}


@pytest.fixture(scope="module")
def store(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    root = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (root / "mlflow.db").write_bytes(empty_database.read_bytes())
        logged = Store(finished.finish(root, music="weak", saes=["text"]))
        finish(logged.client, logged.logged, logged.result)
        yield logged


def test_a_result_is_one_run_with_verdicts_numbers_parameters_and_model(store: Store):
    (run,) = store.runs(moodlens__kind="result")
    assert run.info.run_name == "organism @ 0123456"
    assert (run.info.start_time, run.info.end_time) == (T0_MS, T0_MS + 3 * 61_000 + 60_000)
    assert run.info.status == "FINISHED"
    assert run.data.params["model.id"] == "organism"
    assert run.data.params["prompts.n_per_emotion"] == "16"
    assert run.data.metrics["strength_music"] == 2
    assert next(iter(run.data.metrics)) == "strength_music", "the page of comparisons opens with it"
    tags = run.data.tags
    assert [tags[f"verdict.{rung}"] for rung in ("text_code", "music", "use")] == [
        "strong",
        "weak",
        "untested",
    ]
    assert tags["model.id"] == "organism"
    assert tags["git.revision"] == finished.REVISION
    assert int(tags["model.weights"], 16) == len("organism")
    assert "| music | weak | 1.020 [0.920, 1.120] | 0.700 |" in tags["mlflow.note.content"]


def test_stages_are_children_with_their_own_times_and_parts_below(store: Store):
    stages = store.below(store.logged.run_id)
    assert set(stages) == set(PIPELINE)
    for number, stage in enumerate(PIPELINE):
        run = stages[stage]
        assert run.info.start_time == T0_MS + number * 61_000
        assert run.info.end_time - run.info.start_time == 60_000
        assert run.data.tags[KIND] == "stage"
        assert run.data.tags["model.id"] == "organism"
        assert run.data.tags["verdict.music"] == "weak"
    family = store.below(stages["decide"].info.run_id)["layers/residual"]
    layer = store.below(family.info.run_id)["residual.1"]
    assert (family.data.metrics, layer.data.metrics) == ({"p": 0.01}, {"effect": 0.3})
    sae = store.below(stages["sae"].info.run_id)["sae/text"]
    assert store.logged.sites == {"text": sae.info.run_id}
    history = store.client.get_metric_history(sae.info.run_id, "by_epoch.fvu")
    assert [point.value for point in history] == [0.5, 0.12]


def test_inputs_of_every_stage_are_its_own_dependencies_and_nothing_else(store: Store):
    """Computed another way: from the dependencies as this test lists them, and the files on disk."""
    expected = {
        "generate": {"data/captions.csv", "models/organism/model.safetensors"},
        "decide": {"data/activations"},
        "sae": {"data/activations"},
        "report": {
            f"metrics/{name}.json"
            for name in ("generate", "decide", "sae", "overview", "latents", "sae_overview")
        },
    }
    stages = store.below(store.logged.run_id)
    for stage, paths in expected.items():
        given = {entry.dataset.name: entry.dataset for entry in stages[stage].inputs.dataset_inputs}
        assert set(given) == paths, stage
        for path, dataset in given.items():
            assert dataset.digest == finished.entry_of(store.root, path)["md5"], path
    (result,) = store.runs(moodlens__kind="result")
    assert {entry.dataset.name for entry in result.inputs.dataset_inputs} == set().union(*expected.values())


def test_datasets_have_size_and_schema(store: Store):
    generate = store.below(store.logged.run_id)["generate"]
    (captions,) = (
        entry.dataset for entry in generate.inputs.dataset_inputs if entry.dataset.name.endswith(".csv")
    )
    assert json.loads(captions.profile) == {
        "size_bytes": (store.root / "data" / "captions.csv").stat().st_size
    }
    names = [column["name"] for column in json.loads(captions.schema)["mlflow_colspec"]]
    assert names == ["caption", "mood"]


def test_system_metrics_have_their_own_times(store: Store):
    generate = store.below(store.logged.run_id)["generate"].info.run_id
    for run_id, n in ((generate, 3), (store.logged.run_id, 3 * len(PIPELINE))):
        for name, first in ((CPU, 91.0), (MEMORY, 301.0)):
            points = sorted(store.client.get_metric_history(run_id, name), key=lambda point: point.step)
            assert len(points) == n
            assert (points[0].value, points[0].timestamp) == (first, T0_MS + 1000)


def test_report_figures_tables_and_records_are_artifacts(store: Store):
    folder = store.root / "mlartifacts" / "moodlens" / store.logged.run_id / "artifacts"
    assert (folder / "report" / "index.html").read_text() == finished.PAGE
    assert (folder / "figures" / "layers-1.svg").read_text() == finished.SVG
    assert (folder / "metrics" / "overview.json").is_file()
    assert {path.stem for path in (folder / "records").iterdir()} == set(PIPELINE)


def test_an_interrupted_attempt_is_no_result_and_leaves_nothing(
    with_store: Callable[[Path], Path], tmp_path: Path
):
    store = Store(finished.finish(with_store(tmp_path)))
    assert find_result(store.client, store.experiment_id, store.result.digest) is None, "not finished yet"
    discard(store.client, store.experiment_id, store.result.digest)
    assert store.runs(moodlens__stage="decide") == []
    finish(store.client, log_result(store.client, store.experiment_id, store.result, tmp_path), store.result)
    assert find_result(store.client, store.experiment_id, store.result.digest) is not None
    assert len(store.runs(moodlens__kind="result")) == 1


def test_a_result_without_a_report_or_a_committed_revision_is_logged_too(
    with_store: Callable[[Path], Path], tmp_path: Path
):
    finished.finish(with_store(tmp_path))
    (tmp_path / "reports" / "index.html").unlink()
    for path in (tmp_path / "data" / "runs").glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "revision": ""}))
    lock = yaml.safe_load((tmp_path / "dvc.lock").read_text())
    assert set(lock["stages"]) == set(PIPELINE)
    store = Store(tmp_path)
    (run,) = store.runs(moodlens__kind="result")
    assert run.info.run_name == "organism @ no git"
    assert "git.revision" not in run.data.tags
