"""MLflow runs, written in batches to a sqlite database or a server, with the datasets they depend on.

The database is created under a lock: two processes that create it at the same time leave it corrupt. mlflow
is imported when the first run is logged. Datasets are identified by their md5 in dvc.lock.
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

    from moodlens.params.pipeline import Params

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader of libyaml, ten times as fast as the pure Python one: dvc.lock has thousands of lines."""


@dataclass(frozen=True)
class Dataset:
    """One versioned dataset: its path in the workspace, and DVC's md5 (a folder's ends in `.dir`)."""

    path: str
    md5: str


def datasets(root: Path, prefixes: tuple[str, ...] = ("data/",)) -> list[Dataset]:
    """Return every dataset that dvc.lock records as an output below `prefixes`, sorted by path.

    Empty without a dvc.lock, as in a workspace that was never reproduced.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return []
    stages = (yaml.load(lock.read_text(encoding="utf-8"), Loader=SAFE_LOADER) or {}).get("stages", {})
    outs = (out for stage in stages.values() for out in stage.get("outs", []))
    recorded = {out["path"]: out["md5"] for out in outs if "md5" in out and out["path"].startswith(prefixes)}
    return [Dataset(path, md5) for path, md5 in sorted(recorded.items())]


def home_of(root: Path) -> Path:
    """Return the user's own workspace, also inside the copies below `.dvc/tmp/exps` that experiments run in.

    >>> home_of(Path("/srv/project/.dvc/tmp/exps/standalone/tmpx")).as_posix()
    '/srv/project'
    """
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root


def version_tags(root: Path) -> dict[str, str]:
    """Return tags that identify the code: git revision and, inside `dvc exp run`, experiment and baseline."""
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
    """One finished run with its inputs and outputs.

    `curves` maps a metric to its values over steps (layer, epoch, ...). `children` are nested runs to any
    depth: a stage, its families of sites, their layers.
    """

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    children: Sequence["Run"] = ()


def stage_run(
    stage: str,
    params: "Params",
    metrics: Mapping[str, object],
    children: Sequence[Run] = (),
    also: Sequence[str] = (),
) -> Run:
    """Return the parent run of a stage.

    Args:
        stage: its name, which is also its section of the parameters.
        params: parameters; the stage's section and `model` are logged.
        metrics: numbers are logged, nested ones as `group.name`; text and None are left out.
        children: nested runs.
        also: further sections of the parameters to log.
    """
    sections = {name: vars(getattr(params, name)) for name in (stage, *also, "model")}
    numbers = {key: float(value) for key, value in flat(metrics) if isinstance(value, (int, float))}
    return Run(stage, sections, numbers, children=children)


def groups(metrics: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """Return the nested mappings of a metrics file.

    >>> groups({"layers": {"p": 0.5}, "n_prompts": 64})
    {'layers': {'p': 0.5}}
    """
    return {name: values for name, values in metrics.items() if isinstance(values, Mapping)}


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else the sqlite database of the user's workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home_of(root).resolve()}/mlflow.db"


def log_runs(root: Path, stage: str, run: Run) -> str:
    """Log `run` and its children to experiment `moodlens/<stage>`; write `metrics/<stage>.mlflow.json`.

    Every run carries the git revision, the name and baseline of the DVC experiment, and as dataset inputs the
    md5 of every upstream dataset in dvc.lock. Returns the id of the parent run.
    """
    ids = log_to(root, f"moodlens/{stage}", stage, run)
    write_run_ids(root, stage, ids)
    return ids["run_id"]


def log_to(root: Path, experiment: str, stage: str, run: Run) -> dict[str, str]:
    """Log `run` and its children to `experiment`; return experiment, experiment_id and run_id."""
    client = connect(root)
    experiment_id = _experiment(client, root, experiment)
    shared = {**version_tags(root), "moodlens.stage": stage}
    inputs = datasets(root)
    run_id = _log(client, inputs, experiment_id, run, shared)
    _log_children(client, inputs, experiment_id, run, run_id, shared)
    return {"experiment": experiment, "experiment_id": experiment_id, "run_id": run_id}


def write_run_ids(root: Path, stage: str, ids: Mapping[str, object]) -> None:
    """Write `metrics/<stage>.mlflow.json`, which says where the runs of a stage are."""
    path = root / "metrics" / f"{stage}.mlflow.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(ids, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _log_children(
    client: "MlflowClient",
    inputs: Sequence[Dataset],
    experiment_id: str,
    run: Run,
    run_id: str,
    shared: Mapping[str, str],
) -> None:
    """Log the runs nested in `run`, to any depth."""
    for child in run.children:
        child_id = _log(client, inputs, experiment_id, child, {**shared, "mlflow.parentRunId": run_id})
        _log_children(client, inputs, experiment_id, child, child_id, shared)


def connect(root: Path) -> "MlflowClient":
    """Return a client of the tracking store; a missing sqlite store is created under a lock."""
    import logging

    from mlflow import MlflowClient

    for name in ("alembic", "mlflow", "mlflow.store.db.utils"):  # they report the creation of tables
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
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
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
        entries = [Input(data.path, data.md5, "dvc", json.dumps({"path": data.path})) for data in inputs]
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
