"""Stage `track`: logs the finished run of this workspace to MLflow.

A store that cannot take runs does not fail the pipeline: the stage says why in one line, and `moodlens track`
logs the same run later.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodlens.params.pipeline import Params
from moodlens.store.atomic import replacing
from moodlens.store.experiment import NAME, open_experiment
from moodlens.store.logged_result import discard, find_result, finish, log_result
from moodlens.store.registry import SaeVersion, find_version, register_saes, registered_saes
from moodlens.store.result import Result, read_result
from moodlens.store.tracking import StoreFault, connect, faults_as_reasons, shown, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Outcome:
    """Where the run of this workspace is in MLflow, or why it is not: the content of reports/mlflow.json.

    The ids are good only in a store whose run `run_id` has the tag `digest`, and a version of an SAE only
    while it holds the same weights: `followed` checks both. `store` is shown and not compared, because the
    address of a database changes with its folder.
    """

    logged: bool
    store: str  # URI without user and password
    digest: str  # of the result
    experiment_id: str = ""
    run_id: str = ""
    url: str | None = None  # page of the run on a server; None for a local database
    reason: str = ""  # why it is not logged
    saes: tuple[SaeVersion, ...] = field(default=())


def run(params: Params, root: Path) -> None:
    """Write reports/mlflow.json and log the run; ends well where MLflow cannot take it."""
    del params  # the records have those of each stage
    outcome, line = track(root)
    write_outcome(root, outcome)
    print(f"track: {line}")


def track(root: Path) -> tuple[Outcome, str]:
    """Log the finished run of this workspace, unless the store has it; return where it is, and a sentence.

    Raises:
        UsageError: nothing has finished here.
    """
    result = read_result(root)
    uri = tracking_uri(root)
    try:
        client = connect(root)
        with faults_as_reasons():
            return _track(client, uri, root, result)
    except StoreFault as fault:
        outcome = Outcome(False, shown(uri), result.digest, reason=str(fault))
        line = f"not logged to MLflow: {fault}. Nothing is lost; `moodlens track` logs this run later"
        return outcome, line


def _track(client: "MlflowClient", uri: str, root: Path, result: Result) -> tuple[Outcome, str]:
    experiment_id = open_experiment(client, uri)
    run_id = find_result(client, experiment_id, result.digest)
    if run_id is not None:
        saes = registered_saes(client, root, result.model["id"])
        line = f"{result.name} is in MLflow already; `make ui` shows it"
    else:
        discard(client, experiment_id, result.digest)
        logged = log_result(client, experiment_id, result, root)
        run_id = logged.run_id
        saes = register_saes(client, uri, root, result, logged)
        finish(client, logged, result)
        line = f"{result.name} is in MLflow ({shown(uri)}); `make ui` shows it"
    url = f"{shown(uri).rstrip('/')}/{run_page(experiment_id, run_id)}" if uri.startswith("http") else None
    return Outcome(True, shown(uri), result.digest, experiment_id, run_id, url, "", tuple(saes)), line


def run_page(experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page, relative to that of the server."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def outcome_path(root: Path) -> Path:
    """Return where a workspace keeps the outcome."""
    return root / "reports" / "mlflow.json"


def write_outcome(root: Path, outcome: Outcome) -> None:
    """Write reports/mlflow.json."""
    with replacing(outcome_path(root)) as temporary:
        temporary.write_text(json.dumps(asdict(outcome), indent=2) + "\n", encoding="utf-8")


def read_outcome(root: Path) -> Outcome | None:
    """Return the content of reports/mlflow.json, None where there is none or it is damaged."""
    try:
        raw: dict[str, Any] = json.loads(outcome_path(root).read_text(encoding="utf-8"))
        outcome = Outcome(**{**raw, "saes": tuple(SaeVersion(**entry) for entry in raw["saes"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    names = (outcome.digest, outcome.run_id, *(part for sae in outcome.saes for part in vars(sae).values()))
    return outcome if all(isinstance(name, str) and "'" not in name for name in names) else None


def followed(client: "MlflowClient", uri: str, outcome: Outcome | None) -> Outcome | None:
    """Return an outcome if its ids are good in this store, else None.

    They are good if the run there has its digest. Versions of SAEs whose weights are others there are left
    out. The address that is returned is that of this store.
    """
    if outcome is None or not outcome.logged:
        return None
    experiment = client.get_experiment_by_name(NAME)
    if experiment is None or str(experiment.experiment_id) != outcome.experiment_id:
        return None
    if find_result(client, outcome.experiment_id, outcome.digest) != outcome.run_id:
        return None
    saes = tuple(sae for sae in outcome.saes if find_version(client, sae.model, sae.content) == sae.version)
    return replace(outcome, store=shown(uri), saes=saes)
