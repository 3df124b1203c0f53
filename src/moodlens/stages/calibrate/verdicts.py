"""Stage `verdicts`: verdicts of the whole pipeline on models whose truth is known.

Each twin runs in its own process and workspace. Finished verdicts are stored, so that an interrupted run
resumes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from moodlens.base.errors import ContractError, must
from moodlens.calibration.truth import TRUTH, judged
from moodlens.compute.pool import run_tasks
from moodlens.params.calibration import CalibrationParams
from moodlens.store.atomic import replacing
from moodlens.store.code_fingerprint import code_files, stage_module
from moodlens.store.tables import write_plot

VERDICT = "verdict.json"
BESIDE = ("inputs", "relate", "geometry")
LAST_LINES = 5


def needed_stages(root: Path, target: str = "decide") -> list[str]:
    """Return the stages of root/dvc.yaml that `target` needs for its verdicts, itself last, in their order.

    `BESIDE` is left out: `inputs` checks files of the user; `decide` reads the others for the gates before
    SAE training, which no rung looks at.
    """
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    makes = {out: name for name, stage in stages.items() for out in _outs(stage)}
    needed, waiting = set(), [target]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            makers = {makes[dep] for dep in stages[name]["deps"] if dep in makes}
            waiting.extend(makers - set(BESIDE))
    return [name for name in stages if name in needed]


def _outs(stage: Mapping[str, Any]) -> list[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


def verdict_on_twin(root: Path, home: Path, model: str, seed: int) -> dict[str, Any]:
    """Return metrics/decide.json of a twin at a generation seed, with the naive verdict under `naive`.

    A finished verdict is stored in work/<model>-<seed> and used until parameters, code or weights change.

    Args:
        root: the main workspace, whose params.yaml, code and models are used.
        home: calibration/; runs live in its work/.
        model: embedded name of the twin.
        seed: `generate.seed`.

    Raises:
        ContractError: a stage failed; the message holds its last lines.
    """
    work = home / "work" / f"{model}-{seed}"
    stages = needed_stages(root)
    text = twin_params(root, model, seed)
    mark = fingerprint(root, stages, text)
    stored = work / VERDICT
    if stored.is_file():
        verdict = json.loads(stored.read_text(encoding="utf-8"))
        if verdict["fingerprint"] == mark:
            return verdict["decide"]
    work.mkdir(parents=True, exist_ok=True)
    (work / "params.yaml").write_text(text, encoding="utf-8")
    if not (work / "models").exists():
        (work / "models").symlink_to(root / "models")
    _run([*stages, "naive"], root, work, home)
    decide = json.loads((work / "metrics" / "decide.json").read_text(encoding="utf-8"))
    decide["naive"] = json.loads((work / "metrics" / "naive.json").read_text(encoding="utf-8"))
    with replacing(stored) as temporary:
        temporary.write_text(json.dumps({"fingerprint": mark, "decide": decide}), encoding="utf-8")
    return decide


def twin_params(root: Path, model: str, seed: int) -> str:
    """Return the main params.yaml for a model and a `generate.seed`, without what no verdict reads.

    That is: attention maps of generation, the metrics beside PERMANOVA. One process per run, since several
    twins run side by side.
    """
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["model"]["id"] = model
    params["generate"]["seed"] = seed
    params["generate"]["attention"] = False
    params["signal"]["metrics"] = ["permanova"]
    params["compute"]["workers"] = 1
    return yaml.safe_dump(params, sort_keys=False)


def fingerprint(root: Path, stages: list[str], params: str) -> str:
    """Return what a verdict depends on: parameters, code of its stages, weights."""
    source = root / "src"
    modules = [*(stage_module(name, source) for name in stages), "moodlens.stages.calibrate.chain"]
    files = {path for module in modules for path in code_files(module, source)}
    files |= set((root / "models" / "organism").rglob("*.safetensors"))
    digest = sha256(params.encode())
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(stages: Sequence[str], root: Path, work: Path, home: Path) -> None:
    """Run stages in the twin's workspace, in one process: its imports take as long as most stages.

    All twins share one MLflow database, apart from the main one.
    """
    env = {
        **os.environ,
        "DVC_ROOT": str(work),
        "PYTHONPATH": os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'work' / 'mlflow.db'}",
    }
    env.pop("DVC_STAGE", None)  # of the calibration's own pipeline
    command = [sys.executable, "-m", "moodlens.stages.calibrate.chain", *stages]
    done = subprocess.run(command, cwd=work, env=env, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        reason = " / ".join((done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:])
        where = f"{work.name}, exit {done.returncode}"
        advice = "Repair it and run again"
        raise ContractError(
            must("the stages of a verdict", "finish on the twin", reason, where=where, next_step=advice)
        )


@dataclass(frozen=True)
class Run:
    """One twin at one generation seed."""

    home: Path
    model: str
    seed: int


def run(params: CalibrationParams, home: Path) -> None:
    """Write calibration/verdicts.csv and print what was wrong; finished verdicts are used again."""
    section = params.verdicts
    todo = [Run(home, model, seed) for seed in section.seeds for model in section.models]
    workers = params.compute.workers
    parts = run_tasks(rows_of_run, todo, workers=workers, threads=1, label="verdicts", unit="run")
    rows = [row for part in parts for row in part]
    write_plot(pd.DataFrame(rows), home / "verdicts.csv")
    for row in rows:
        if row["mark"] == "wrong":
            print(f"wrong: {row['model']}, seed {row['seed']}: {row['rung']} {row['verdict']}")


def rows_of_run(todo: Run) -> list[dict[str, object]]:
    """Return the rows of one twin, run now or finished before."""
    return rows_of(todo.model, todo.seed, verdict_on_twin(todo.home.parent, todo.home, todo.model, todo.seed))


def rows_of(model: str, seed: int, decide: dict[str, Any]) -> list[dict[str, object]]:
    """Return a row per rung, and one for the naive pipeline."""
    rungs = decide["rungs"]
    rows: list[dict[str, object]] = []
    for row in judged(model, {name: rung["verdict"] for name, rung in rungs.items()}):
        rung = rungs.get(row.rung, {})
        numbers = {"accuracy": rung.get("accuracy"), "p": rung.get("p")}
        rows.append({"model": model, "seed": seed, **vars(row), **numbers})
    naive = decide["naive"]
    verdict = {"rung": "naive", "verdict": naive["says"], "truth": TRUTH[model]["music"], "mark": ""}
    p = max(naive["p_t"], naive["p_probe"])
    rows.append({"model": model, "seed": seed, **verdict, "accuracy": naive["accuracy"], "p": p})
    return rows
