"""`moodlens track`: log the finished run of this workspace to MLflow. `moodlens ui`: MLflow's pages.

moodlens track           for a run that could not be logged when it ended; none is logged twice
moodlens ui [--port N]   print which page answers which question, then serve the pages until Ctrl-C
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from moodlens.base.errors import UsageError, must
from moodlens.stages.track import followed, read_outcome, run_page, track, write_outcome
from moodlens.store.experiment import KIND, VIEW, open_experiment
from moodlens.store.tracking import (
    StoreFault,
    connect,
    database_of,
    faults_as_reasons,
    refuse_unfit,
    shown,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

HOST = "127.0.0.1"
PORT = 5000
MODE = "workflowType=machine_learning"
"""Part of an address that opens MLflow's pages in their mode for model training."""


def add_commands(subparsers: Any) -> None:
    """Add `track` and `ui`, which `run` executes."""
    subparsers.add_parser(
        "track", help="log the finished run of this workspace to MLflow, unless it is there"
    )
    ui = subparsers.add_parser("ui", help="print which page of MLflow answers which question, and serve them")
    ui.add_argument("--port", type=int, default=PORT, help=f"of the server (default {PORT})")


def run(chosen: argparse.Namespace, root: Path) -> tuple[str, bool]:
    """Return the text to print and whether the run is in MLflow; `ui` becomes the server and does not return.

    Raises:
        UsageError: nothing has finished here, the port is taken, or the store cannot be opened.
        ContractError: a record is damaged.
    """
    if chosen.command == "track":
        return log_again(root)
    return serve(root, chosen.port), True


def state_of_store(root: Path) -> tuple[str, str]:
    """Return what to say of the store before any work, and advice where it takes no run now; makes none."""
    uri = tracking_uri(root)
    database = database_of(uri)
    try:
        if database is not None and not database.exists():
            refuse_unfit(uri)
            return "made by the first run", ""
        connect(root)
    except StoreFault as fault:
        advice = f"MLflow: {fault}. Runs end well without it; `moodlens track` logs them later"
        return "takes no run now", advice
    return f"{shown(uri)} takes runs", ""


def log_again(root: Path) -> tuple[str, bool]:
    """Log the run and tell DVC the new reports/mlflow.json; return a sentence and whether it is logged."""
    outcome, line = track(root)
    if outcome != read_outcome(root):
        write_outcome(root, outcome)
        if (root / "dvc.lock").is_file():
            command = [sys.executable, "-m", "dvc", "commit", "--quiet", "--force", "track"]
            subprocess.run(command, cwd=root, capture_output=True, check=False)
    return line, outcome.logged


def serve(root: Path, port: int) -> str:
    """Print the pages and become their server; return the pages of a server that the user runs.

    Raises:
        UsageError: the port is taken, or the store cannot be opened.
    """
    uri = tracking_uri(root)
    served = uri.startswith("http")
    base = shown(uri).rstrip("/") if served else f"http://{HOST}:{port}"
    try:
        client = connect(root)
        with faults_as_reasons():
            text = pages(client, uri, root, base)
    except StoreFault as fault:
        advice = "Correct MLFLOW_TRACKING_URI or the store, then run `moodlens ui` again"
        raise UsageError(must("the MLflow store", "be usable", str(fault), next_step=advice)) from None
    if served:
        return text
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            advice = f"Give another one: `moodlens ui --port {port + 1}`"
            raise UsageError(must(f"port {port}", "be free", "a server on it", next_step=advice))
    print(text, flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--host", HOST, "--port", str(port)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, [*command, "--backend-store-uri", uri], environment)


def pages(client: "MlflowClient", uri: str, root: Path, base: str) -> str:
    """Return which page answers which question.

    Args:
        client: of the store.
        uri: of the same store.
        root: workspace, whose own run is among the pages.
        base: address of the server.
    """
    experiment_id = open_experiment(client, uri)
    query = f"tags.`{KIND}` = 'result' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time DESC"]
    latest = client.search_runs([experiment_id], query, max_results=2, order_by=order)
    if not latest:
        return f"No run in {shown(uri)} yet: `make repro` makes one, `moodlens track` logs a finished one."
    runs = f"#/experiments/{experiment_id}/runs?{MODE}&viewStateShareKey={VIEW}"
    lines = [("Which model or setting shows what? Verdicts and effects, a row per result", runs)]
    if len(latest) > 1:
        ids = quote(json.dumps([found.info.run_id for found in latest]))
        compared = f"runs={ids}&experiments={quote(json.dumps([experiment_id]))}&{MODE}"
        names = " and ".join(str(found.info.run_name) for found in latest)
        lines.append((f"What differs between {names}?", f"#/compare-runs?{compared}"))
    own = followed(client, uri, read_outcome(root))
    if own is not None:
        page = f"{run_page(experiment_id, own.run_id)}?{MODE}"
        lines.append(("The run of this workspace: numbers, parameters, data, report, stages", page))
        for sae in own.saes:
            page = f"#/models/{sae.model}/versions/{sae.version}?{MODE}"
            lines.append((f"How good is its SAE of {sae.site}, and where does it come from?", page))
    lines.append(("All SAEs and which of them is champion", f"#/models?{MODE}"))
    text = "\n".join(f"{question}\n    {base}/{page}" for question, page in lines)
    if own is None:
        text += "\nThe run of this workspace is not in this store: `moodlens track` logs it."
    return text
