"""MLflow: finished runs written in batches to a sqlite database at an absolute path, or to a server.

A fresh database is made under a lock: two processes that create one together corrupt it for good.
Nothing here runs at import; mlflow itself is imported when the first run is logged.

Which data a result stands on: the md5 of every upstream dataset, read from dvc.lock.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient


SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, ten times as fast as the pure one: dvc.lock lists thousands of lines."""


@dataclass(frozen=True)
class Dataset:
    """One versioned dataset: its path in the workspace, and DVC's md5 (a folder's ends in `.dir`)."""

    path: str
    md5: str


def datasets(root: Path, prefixes: tuple[str, ...] = ("data/",)) -> list[Dataset]:
    """Return every dataset that dvc.lock records as an output below `prefixes`, sorted by path.

    A workspace that was never reproduced has no dvc.lock and so no recorded dataset.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return []
    stages = (yaml.load(lock.read_text(encoding="utf-8"), Loader=SAFE_LOADER) or {}).get("stages", {})
    outs = (out for stage in stages.values() for out in stage.get("outs", []))
    found = {out["path"]: out["md5"] for out in outs if "md5" in out and out["path"].startswith(prefixes)}
    return [Dataset(path, md5) for path, md5 in sorted(found.items())]


def home_of(root: Path) -> Path:
    """Return the user's own workspace: DVC runs queued experiments in a copy below `.dvc/tmp/exps`.

    >>> home_of(Path("/srv/project/.dvc/tmp/exps/standalone/tmpx")).as_posix()
    '/srv/project'
    """
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root


def version_tags(root: Path) -> dict[str, str]:
    """Return what identifies the code: git revision and, inside `dvc exp run`, experiment and baseline."""
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    tags = {
        "git.revision": revision.stdout.strip(),
        "dvc.stage": os.environ.get("DVC_STAGE", ""),
        "dvc.exp.name": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.exp.baseline_rev": os.environ.get("DVC_EXP_BASELINE_REV", ""),
    }
    return {key: value for key, value in tags.items() if value}


MAX_METRICS = 1000  # per log_batch, the server's limit
MAX_PARAMS = 100  # likewise
MAX_VALUE = 500  # characters of a parameter's value


@dataclass(frozen=True)
class Run:
    """One finished piece of work: what went in, what came out.

    `curves` maps a metric to its values over steps (layer, epoch, ...); `children` are nested runs, to any
    depth: a stage, its families of sites, their layers.
    """

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    children: Sequence["Run"] = ()


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI` if the user set it, else the sqlite database of the user's workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home_of(root).resolve()}/mlflow.db"


def log_runs(root: Path, stage: str, run: Run) -> str:
    """Log `run` and its children to experiment `moodlens/<stage>`; write `metrics/<stage>.mlflow.json`.

    Every run carries the git revision, the DVC experiment's name and baseline, and as dataset inputs the md5
    of every upstream dataset in dvc.lock. Returns the id of the parent run.
    """
    beside = log_to(root, f"moodlens/{stage}", stage, run)
    write_beside(root, stage, beside)
    return beside["run_id"]


def log_to(root: Path, experiment: str, stage: str, run: Run) -> dict[str, str]:
    """Log `run` and its children to `experiment`; return experiment, experiment_id and run_id."""
    client = connect(root)
    experiment_id = _experiment(client, root, experiment)
    shared = {**version_tags(root), "moodlens.stage": stage}
    inputs = datasets(root)
    run_id = _log(client, inputs, experiment_id, run, shared)
    _log_children(client, inputs, experiment_id, run, run_id, shared)
    return {"experiment": experiment, "experiment_id": experiment_id, "run_id": run_id}


def write_beside(root: Path, stage: str, beside: Mapping[str, object]) -> None:
    """Write `metrics/<stage>.mlflow.json`: where a stage's runs are."""
    path = root / "metrics" / f"{stage}.mlflow.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(beside, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _log_children(
    client: "MlflowClient",
    inputs: Sequence[Dataset],
    experiment_id: str,
    run: Run,
    run_id: str,
    shared: Mapping[str, str],
) -> None:
    """Log the runs nested in `run`, and theirs."""
    for child in run.children:
        child_id = _log(client, inputs, experiment_id, child, {**shared, "mlflow.parentRunId": run_id})
        _log_children(client, inputs, experiment_id, child, child_id, shared)


def connect(root: Path) -> "MlflowClient":
    """Return a client of the tracking store; a sqlite store is created, once, under a lock."""
    import logging

    from mlflow import MlflowClient

    for name in (
        "alembic",
        "mlflow",
        "mlflow.store.db.utils",
    ):  # "Creating initial tables": not news to a user
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = tracking_uri(root)
    if not uri.startswith("sqlite:///"):
        return MlflowClient(tracking_uri=uri)
    with FileLock(uri.removeprefix("sqlite:///") + ".lock"):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _experiment(client: "MlflowClient", root: Path, name: str) -> str:
    home = home_of(root).resolve()
    with FileLock(str(home / "mlflow.db.lock")):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        local = tracking_uri(root).startswith("sqlite:///")
        location = (home / "mlartifacts" / name.replace("/", "-")).as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))


def _log(
    client: "MlflowClient", inputs: Sequence[Dataset], experiment_id: str, run: Run, tags: Mapping[str, str]
) -> str:
    from mlflow.entities import Dataset as Input
    from mlflow.entities import DatasetInput, Metric, Param

    all_tags = {**tags, **run.tags, "mlflow.runName": run.name}
    run_id = client.create_run(experiment_id, tags=all_tags, run_name=run.name).info.run_id
    now = int(time.time() * 1000)
    metrics = [Metric(key, float(value), now, 0) for key, value in run.metrics.items()]
    metrics += [
        Metric(key, float(value), now, step)
        for key, values in run.curves.items()
        for step, value in enumerate(values)
    ]
    params = [Param(key, str(value)[:MAX_VALUE]) for key, value in flat(run.params)]
    for part in batches(params, MAX_PARAMS):
        client.log_batch(run_id, params=part)
    for part in batches(metrics, MAX_METRICS):
        client.log_batch(run_id, metrics=part)
    if inputs:
        entries = [Input(found.path, found.md5, "dvc", json.dumps({"path": found.path})) for found in inputs]
        client.log_inputs(run_id, [DatasetInput(entry) for entry in entries])
    client.set_terminated(run_id, "FINISHED")
    return run_id


def flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted key, value) of a nested mapping.

    >>> list(flat({"a": {"b": 1}, "c": 2}))
    [('a.b', 1), ('c', 2)]
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yield consecutive lists of at most `size` items.

    >>> list(batches([1, 2, 3], 2))
    [[1, 2], [3]]
    """
    stream = iter(items)
    while part := list(islice(stream, size)):
        yield part
