"""The MLflow experiment `moodlens`: its description, the columns of its runs page, its place for artifacts.

Every result of the pipeline is one run of it, every stage a run below. A deleted experiment is restored. The
artifacts of a sqlite store lie beside the database; after both were moved, the paths in the database are
rewritten.
"""

import json
import sqlite3
import zlib
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodlens.store.tracking import PROBE_S, database_of, store_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "moodlens"
KIND = "moodlens.kind"
"""Tag of a run: `result` (of the whole pipeline), `stage`, or `part` of a stage."""
VIEW = "results"
"""Key of the saved view, for `viewStateShareKey` in the address."""
RUNGS = ("text_code", "music", "source_music", "source_memory", "source_reading", "use")
NOTE = """\
**Is emotion encoded in a music generator, where, and how?** One run per result of the pipeline, named by the
DVC experiment, or by model and git revision. Below it is one run per stage with the stage's own times and
datasets, and below those one per family of sites and per layer.

| column | what it says |
|---|---|
| `verdict.<rung>` | the verdict: strong, weak, undecided, none, or untested |
| `strength_<rung>` | the same as a number: 3 strong, 2 weak, 1 undecided, 0 none; empty: untested |
| `effect_<rung>` | similarity of prompts within minus between emotions; `_low`, `_high`: its interval |
| `p_<rung>`, `accuracy_<rung>` | permutation p, corrected over the sites of the rung; accuracy of a probe |
| `system/...` | CPU in percent of one core, memory in MB, of the processes of a stage |

Rungs: `text_code`, the code of the text encoder; `music`, the generated sound; `source_music`,
`source_memory`, `source_reading`, what carries the emotion into the music that follows a moment, with
`effect_<rung>` its share of the total; `use`, whether an exchange of one layer's states moves the music, with
the share that it moves. `layers` are the
states of the decoder.

To compare: tick two runs, then Compare. `make ui` prints the address of every page.
"""
COLUMNS = {
    "params.`model.id`": 150,
    **{f"tags.`verdict.{rung}`": 120 for rung in RUNGS},
    "metrics.`effect_text_code`": 115,
    "metrics.`effect_layers`": 100,
    "metrics.`effect_music`": 100,
    "metrics.`n_prompts`": 85,
}
"""Columns of the saved view in their order, with their widths in pixels."""
PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database holds paths of artifacts."""
ARTIFACTS = "mlartifacts"


def open_experiment(client: "MlflowClient", uri: str) -> str:
    """Return the id of the experiment, which is created, restored or brought up to date as needed."""
    database = database_of(uri)
    with store_lock(uri):
        if database is not None:
            follow_move(database)
        found = client.get_experiment_by_name(NAME)
        if found is None:
            experiment_id = str(client.create_experiment(NAME, artifact_location=_location(database)))
        else:
            experiment_id = str(found.experiment_id)
            if found.lifecycle_stage == "deleted":
                print(f"track: the MLflow experiment {NAME} had been deleted; it is restored")
                client.restore_experiment(experiment_id)
        present = {} if found is None else dict(found.tags)
        for key, value in _tags().items():
            if present.get(key) != value:
                client.set_experiment_tag(experiment_id, key, value)
    return experiment_id


def _tags() -> dict[str, str]:
    return {
        "mlflow.note.content": NOTE,
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{VIEW}": saved_view(),
    }


def saved_view() -> str:
    """Return the saved view, which lists results alone, in the form in which MLflow's pages store it."""
    state: dict[str, Any] = {
        "searchFilter": f"tags.`{KIND}` = 'result'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    packed = b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": VIEW, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})


def _location(database: Path | None) -> str | None:
    """Return where the artifacts go; None leaves it to the server."""
    return None if database is None else (database.resolve().parent / ARTIFACTS / NAME).as_uri()


def follow_move(database: Path) -> bool:
    """Rewrite the paths of artifacts if the database was moved; return whether it was.

    MLflow stores absolute addresses. A moved or copied clone would go on writing to the old folder, and could
    not read the artifacts that it holds.
    """
    new = f"{(database.resolve().parent / ARTIFACTS).as_uri()}/"
    if not database.exists():
        return False
    with closing(sqlite3.connect(database, timeout=PROBE_S)) as store, store:
        row = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (NAME,)).fetchone()
        end = f"/{ARTIFACTS}/{NAME}"
        if row is None or not str(row[0]).startswith("file:") or not str(row[0]).endswith(end):
            return False
        old = str(row[0]).removesuffix(NAME)
        if old == new:
            return False
        for table, column in PATHS:
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old), old),
            )
    return True
