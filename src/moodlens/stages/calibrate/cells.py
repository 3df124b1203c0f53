"""One cell of the verdicts: the pipeline on one embedded model, prompt set and generation seed.

A cell has a workspace of its own in calibration/work and runs the stages that verdicts need in one process.
Its parameters are those of the main params.yaml, reduced to what the verdicts read. A finished cell is used
again until parameters, code or weights change.
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
from moodlens.params.calibration import VerdictsParams
from moodlens.stages.calibrate.controls import DRAWS
from moodlens.store.atomic import replacing
from moodlens.store.code_fingerprint import code_files, stage_module
from moodlens.store.tables import read_metrics

VERDICT = "verdict.json"
BESIDE = ("inputs", "relate", "geometry")
READ_AGAIN = ("reencode", "check", "null_text")
"""Stages of the finding on null-text states, the longest; `check` looks at the states read again too."""
INTERCHANGE = "interchange"
SITES = ["bow", "text", "acoustics", "tokens", "codec"]
"""Sites of the rungs text code and music."""
NAIVE_LAYER = 3
"""The decoder layer that the naive pipeline reads."""
LAST_LINES = 5


@dataclass(frozen=True)
class Cell:
    """One model, prompt set and seed, and what is measured beside its verdicts."""

    home: Path  # calibration/
    model: str
    sets: tuple[str, ...]
    seed: int
    finding: bool = False  # null-text states and their negative controls
    where: bool = False  # layers and windows of the cache
    memory_share: bool = False  # against the truth by ablation
    use: bool = False  # interchange of states

    @property
    def prompts(self) -> str:
        """Return the name of the prompt set."""
        return "+".join(self.sets)

    @property
    def work(self) -> Path:
        return self.home / "work" / f"{self.model}-{self.prompts}-{self.seed}"

    @property
    def root(self) -> Path:
        """The main workspace, whose params.yaml, code and models are used."""
        return self.home.parent


def cells_of(section: VerdictsParams, home: Path) -> list[Cell]:
    """Return the cells to run, those with null-text states first: they take longest."""
    cells = [
        Cell(
            home=home,
            model=model,
            sets=sets,
            seed=seed,
            finding=model in section.finding_models and seed in section.finding_seeds,
            where=model in section.where_models,
            memory_share=model in section.memory_models,
            use=model in section.use_models and sets == section.sets[0],
        )
        for seed in section.seeds
        for sets in section.sets
        for model in section.models
    ]
    return sorted(cells, key=lambda cell: not cell.finding)


def needed_stages(root: Path, *, finding: bool = True, use: bool = True, target: str = "decide") -> list[str]:
    """Return the stages of root/dvc.yaml that `target` needs for its verdicts, itself last, in their order.

    `BESIDE` is left out: `inputs` checks files of the user; `decide` reads the others for the gates before
    SAE training, which no rung looks at. Without the finding, so is `READ_AGAIN`; without use, `interchange`.
    """
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    makes = {out: name for name, stage in stages.items() for out in _outs(stage)}
    left_out = {*BESIDE, *(() if finding else READ_AGAIN), *(() if use else (INTERCHANGE,))}
    needed, waiting = set(), [target]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            makers = {makes[dep] for dep in stages[name]["deps"] if dep in makes}
            waiting.extend(makers - left_out)
    return [name for name in stages if name in needed]


def _outs(stage: Mapping[str, Any]) -> list[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


def stages_of(cell: Cell) -> list[str]:
    """Return the stages of a cell in their order, those of `stages.calibrate.chain` last."""
    stages = [*needed_stages(cell.root, finding=cell.finding, use=cell.use), "naive"]
    stages += ["controls"] if cell.finding else []
    return stages + (["memory_share"] if cell.memory_share else [])


def cell_params(cell: Cell, section: VerdictsParams) -> str:
    """Return the main params.yaml with the model, prompts and seed of a cell, without what no verdict reads.

    One process per cell, since several run side by side.
    """
    params = yaml.safe_load((cell.root / "params.yaml").read_text(encoding="utf-8"))
    params["model"]["id"] = cell.model
    params["prompts"] |= {"sets": list(cell.sets), "n_per_emotion": section.n_per_emotion}
    params["generate"] |= {
        "seed": cell.seed,
        "n_seeds": section.n_clips,
        "attention": False,
        "layers": [NAIVE_LAYER],
        "pooled_only": True,
    }
    params["reencode"] |= {"n_draws": DRAWS}
    for name in ("signal", "probe"):
        params[name] |= {
            "sites": SITES,
            "n_permutations": section.n_permutations,
            "n_bootstrap": section.n_bootstrap,
        }
    params["null_text"] |= {"n_permutations": section.n_permutations, "n_bootstrap": section.n_bootstrap}
    params["signal"]["metrics"] = ["permanova"]
    params["forks"] |= {
        "seed": cell.seed,
        "n_seeds": section.n_fork_clips,
        "steps_s": [section.fork_step_s],
        "where_s": section.fork_step_s if cell.where else 0.0,
        "run_guidance_s": 0.0,
    }
    params["interchange"] |= {"seed": cell.seed, "n_seeds": section.n_fork_clips}
    params["sae"]["sites"] = ["text"]  # none is trained, and single steps are not stored
    params["compute"]["workers"] = 1
    return yaml.safe_dump(params, sort_keys=False)


def measured(cell: Cell, section: VerdictsParams) -> dict[str, Any]:
    """Return the metrics of a cell by name, run now or finished before: decide, forks, naive and so on.

    Raises:
        ContractError: a stage failed; the message holds its last lines.
    """
    stages, text = stages_of(cell), cell_params(cell, section)
    mark = fingerprint(cell.root, stages, text)
    stored = cell.work / VERDICT
    if stored.is_file():
        found = json.loads(stored.read_text(encoding="utf-8"))
        if found["fingerprint"] == mark:
            return found["metrics"]
    cell.work.mkdir(parents=True, exist_ok=True)
    (cell.work / "params.yaml").write_text(text, encoding="utf-8")
    if not (cell.work / "models").exists():
        (cell.work / "models").symlink_to(cell.root / "models")
    _run(stages, cell)
    metrics = _collected(cell)
    with replacing(stored) as temporary:
        temporary.write_text(json.dumps({"fingerprint": mark, "metrics": metrics}), encoding="utf-8")
    return metrics


def _collected(cell: Cell) -> dict[str, Any]:
    folder = cell.work / "metrics"
    names = ["decide", "forks", "naive"]
    names += ["controls"] if cell.finding else []
    names += ["memory_share"] if cell.memory_share else []
    metrics: dict[str, Any] = {name: read_metrics(folder / f"{name}.json") for name in names}
    if cell.finding:
        null_text: dict[str, Any] = read_metrics(folder / "null_text.json")
        metrics["few_shot"] = null_text["state"]["few_shot"]
    if cell.where:
        metrics["places"] = pd.read_csv(folder / "forks_places.csv").to_dict("records")
    return metrics


def fingerprint(root: Path, stages: Sequence[str], params: str) -> str:
    """Return what a cell depends on: its stages, parameters, code and weights."""
    source = root / "src"
    own = ("chain", "controls", "memory_share")
    of_pipeline = (root / "src" / "moodlens" / "stages").iterdir()
    known = {path.stem for path in of_pipeline}
    modules = [stage_module(name, source) for name in stages if name in known]
    modules += [f"moodlens.stages.calibrate.{name}" for name in own]
    files = {path for module in modules for path in code_files(module, source)}
    files |= set((root / "models" / "organism").rglob("*.safetensors"))
    digest = sha256("\n".join([*stages, params]).encode())
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(stages: Sequence[str], cell: Cell) -> None:
    """Run stages in the cell's workspace, in one process: its imports take as long as most stages.

    All cells share one MLflow database, apart from the main one.
    """
    env = {
        **os.environ,
        "DVC_ROOT": str(cell.work),
        "PYTHONPATH": os.pathsep.join([str(cell.root / "src"), os.environ.get("PYTHONPATH", "")]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{cell.home / 'work' / 'mlflow.db'}",
    }
    env.pop("DVC_STAGE", None)  # of the calibration's own pipeline
    command = [sys.executable, "-m", "moodlens.stages.calibrate.chain", *stages]
    done = subprocess.run(command, cwd=cell.work, env=env, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        reason = " / ".join((done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:])
        where = f"{cell.work.name}, exit {done.returncode}"
        advice = "Repair it and run again"
        raise ContractError(
            must("the stages of a verdict", "finish in the cell", reason, where=where, next_step=advice)
        )
