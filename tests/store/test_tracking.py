"""MLflow runs: one database, made once, with lineage and the run id beside the metrics."""

import json
import multiprocessing
from pathlib import Path

import pytest
import yaml

from moodlens.store.tracking import (
    Dataset,
    Run,
    connect,
    datasets,
    groups,
    home_of,
    log_runs,
    stage_run,
    tracking_uri,
)
from tests.stages.planted import planted_params


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_EXP_NAME", "brave-tuna")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc123")
    lock = {
        "stages": {
            "generate": {
                "outs": [
                    {"path": "data/audio", "md5": "0" * 32 + ".dir"},
                    {"path": "metrics/generate.json", "md5": "1" * 32},
                ]
            }
        }
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    return tmp_path


def log_one(root: Path) -> None:
    log_runs(root, "probe", Run("from a process", metrics={"accuracy": 0.5}))


def test_datasets_are_the_outputs_below_data(workspace: Path):
    assert datasets(workspace) == [Dataset("data/audio", "0" * 32 + ".dir")]


def test_a_queued_experiment_logs_to_the_users_own_database(tmp_path: Path):
    queued = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    assert home_of(queued) == tmp_path
    assert tracking_uri(queued) == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_run_of_a_stage_holds_its_sections_and_its_numbers():
    params = planted_params()
    metrics = {"layers": {"p": 0.5, "best": "residual.1", "n": 3}, "n_prompts": 64, "icc": None}
    run = stage_run("signal", params, metrics, also=("reencode",))
    assert run.name == "signal"
    assert dict(run.metrics) == {"layers.p": 0.5, "layers.n": 3.0, "n_prompts": 64.0}
    assert list(run.params) == ["signal", "reencode", "model"]
    assert run.params["signal"] == vars(params.signal)
    assert stage_run("signal", params, groups(metrics)).metrics == {"layers.p": 0.5, "layers.n": 3.0}


def test_two_processes_share_one_fresh_database_and_runs_carry_lineage(workspace: Path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=log_one, args=(workspace,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]

    child = Run("layers", metrics={"accuracy": 0.9}, children=[Run("layer 0", metrics={"accuracy": 0.7})])
    run = Run(
        "text",
        params={"probe": {"ridge": 1.0}},
        metrics={"accuracy": 0.8},
        curves={"loss": [3.0, 2.0]},
        children=[child],
    )
    run_id = log_runs(workspace, "probe", run)
    client = connect(workspace)
    experiment = client.get_experiment_by_name("moodlens/probe")
    assert len(client.search_runs([experiment.experiment_id])) == 5
    stored = client.get_run(run_id)
    assert stored.data.params == {"probe.ridge": "1.0"}
    assert stored.data.metrics == {"accuracy": 0.8, "loss": 2.0}
    assert [m.value for m in client.get_metric_history(run_id, "loss")] == [3.0, 2.0]
    assert stored.data.tags["dvc.exp.name"] == "brave-tuna"
    assert stored.data.tags["dvc.exp.baseline_rev"] == "abc123"
    assert [(i.dataset.name, i.dataset.digest) for i in stored.inputs.dataset_inputs] == [
        ("data/audio", "0" * 32 + ".dir")
    ]
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    assert [c.data.metrics["accuracy"] for c in children] == [0.9]
    nested = f"tags.mlflow.parentRunId = '{children[0].info.run_id}'"
    (layer,) = client.search_runs([experiment.experiment_id], nested)
    assert layer.data.metrics["accuracy"] == 0.7
    assert json.loads((workspace / "metrics" / "probe.mlflow.json").read_text())["run_id"] == run_id
