"""What a stage leaves behind of its own run: `data/runs/<stage>.json`, an output of every stage.

A record holds when the stage ran, on which inputs and parameters, under which revision, and its numbers as a
tree of runs. Nothing here needs MLflow: stage `track` logs the records, or `moodlens track` does it later.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from moodlens.base.errors import ContractError, must
from moodlens.store.atomic import replacing

if TYPE_CHECKING:
    from moodlens.params.pipeline import Params

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader of libyaml, ten times as fast as the pure Python one: dvc.lock has thousands of lines."""
RUNS = "data/runs/"
CODE = ("src/", "constraints.txt")
"""Dependencies that are code; the git revision identifies them."""


@dataclass(frozen=True)
class Run:
    """The numbers of one finished piece of work, and of its parts.

    `curves` maps a metric to its values over steps (layer, epoch, ...). `children` are nested runs to any
    depth: a stage, its families of sites, their layers.
    """

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    children: Sequence["Run"] = ()


@dataclass(frozen=True)
class Input:
    """A file or folder that a stage read."""

    path: str  # in the workspace
    md5: str  # as DVC has it; a folder's ends in `.dir`
    size: int  # bytes


@dataclass(frozen=True)
class Sample:
    """The process and its children at one moment."""

    time_ms: int  # since the epoch
    cpu_percent: float  # of one core
    memory_mb: float  # resident


@dataclass(frozen=True)
class Record:
    """One finished run of a stage."""

    stage: str
    started_ms: int  # since the epoch
    ended_ms: int
    revision: str  # git commit of the workspace, "" where git does not tell
    experiment: str  # name that `dvc exp run` gave, "" elsewhere
    params: Mapping[str, Any]  # the whole of params.yaml, by section
    inputs: tuple[Input, ...]
    samples: tuple[Sample, ...] = ()
    run: Run | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)  # path -> SHA-256 (`store.stage_outputs`)

    @property
    def ended(self) -> str:
        """Return when the stage ended, in UTC, to the minute.

        >>> Record("decide", 0, 60_000, "", "", {}, ()).ended
        '1970-01-01 00:01 UTC'
        """
        return datetime.fromtimestamp(self.ended_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def record_path(root: Path, stage: str) -> Path:
    """Return where the record of a stage lies."""
    return root / "data" / "runs" / f"{stage}.json"


def write_record(root: Path, record: Record) -> None:
    """Write the record of a stage; it appears whole or not at all."""
    path = record_path(root, record.stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_record(root: Path, stage: str) -> Record | None:
    """Return the record of a stage, None where the stage has not run here.

    Raises:
        ContractError: the file is not a record.
    """
    path = record_path(root, stage)
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            **{
                **raw,
                "inputs": tuple(Input(**entry) for entry in raw["inputs"]),
                "samples": tuple(Sample(**entry) for entry in raw["samples"]),
                "run": None if raw["run"] is None else _run_of(raw["run"]),
            }
        )
    except (ValueError, TypeError, KeyError) as error:
        advice = f"Run `dvc repro -f {stage}`"
        problem = must(str(path), "be the record of a stage", str(error), next_step=advice)
        raise ContractError(problem) from None


def _run_of(raw: Mapping[str, Any]) -> Run:
    return Run(**{**raw, "children": tuple(_run_of(child) for child in raw["children"])})


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


def inputs_of(root: Path, stage: str, params: Mapping[str, Any]) -> tuple[Input, ...]:
    """Return what a stage reads now: the data among its own dependencies in dvc.yaml, sorted by path.

    The md5 of another stage's output is that of dvc.lock, which DVC updates before it runs the next stage. A
    folder dependency gives one input for each output of another stage in it. The md5 of any other file is
    computed. Code is left out (`CODE`). Empty where there is no dvc.yaml or the stage is not in it.

    Args:
        root: of the workspace.
        stage: its name.
        params: params.yaml by section; fills `${section.key}` in a path.
    """
    stages = _stages(root / "dvc.yaml")
    own_entry = stages.get(stage, {})
    recorded = {out["path"]: out for name in stages for out in _locked(root, name)}
    own = _declared(own_entry)
    result: dict[str, Input] = {}
    for dep in own_entry.get("deps", []):
        path = _filled(dep, params)
        if path.startswith(CODE):
            continue
        inside = [name for name in recorded if name == path or name.startswith(f"{path}/")]
        for name in inside:
            out = recorded[name]
            if name not in own:
                result[name] = Input(name, out.get("md5", ""), out.get("size", 0))
        if path not in recorded:
            for file in files_at(root / path):
                name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()
                made = any(name == out or name.startswith(f"{out}/") for out in (*recorded, *own))
                if not made:
                    result[name] = Input(name, file_md5(file), file.stat().st_size)
    return tuple(result[path] for path in sorted(result))


def files_at(path: Path) -> list[Path]:
    """Return a file itself, or the files of a folder, without hidden ones; none of a path that is absent."""
    if path.is_file():
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]


def datasets_behind(root: Path, stage: str) -> dict[str, str]:
    """Return path -> md5 of every dataset that a stage stands on, directly or through earlier stages.

    Datasets are the outputs below data/ of the stages that come before `stage` in the graph of dvc.yaml,
    with their md5 in dvc.lock. Records of runs are left out.
    """
    stages = _stages(root / "dvc.yaml")
    maker = {path: name for name, entry in stages.items() for path in _declared(entry)}
    behind, waiting = set(), [stage]
    while waiting:
        for dep in stages.get(waiting.pop(), {}).get("deps", []):
            before = {name for out, name in maker.items() if out == dep or out.startswith(f"{dep}/")}
            waiting.extend(before - behind - {stage})
            behind |= before - {stage}
    made = locked_outputs(root, *behind)
    return {
        path: made[path] for path in sorted(made) if path.startswith("data/") and not path.startswith(RUNS)
    }


def locked_outputs(root: Path, *stages: str) -> dict[str, str]:
    """Return path -> md5 of the outputs of some stages in dvc.lock; none of those that were never run."""
    return {out["path"]: out["md5"] for stage in stages for out in _locked(root, stage) if "md5" in out}


def _locked(root: Path, stage: str) -> list[Mapping[str, Any]]:
    """Return the entries of dvc.lock for the outputs that dvc.yaml declares of a stage.

    An output that another stage makes now may still stand under the stage that made it once: DVC keeps the
    entry until that stage runs again.
    """
    declared = _declared(_stages(root / "dvc.yaml").get(stage, {}))
    outs = _stages(root / "dvc.lock").get(stage, {}).get("outs", [])
    return [out for out in outs if out["path"] in declared]


def _declared(entry: Mapping[str, Any]) -> set[str]:
    """Return the outputs of a stage of dvc.yaml."""
    return {_path(out) for kind in ("outs", "metrics", "plots") for out in entry.get(kind, [])}


def _stages(path: Path) -> Mapping[str, Any]:
    return _stages_in(path.read_text(encoding="utf-8")) if path.is_file() else {}


@lru_cache(maxsize=4)
def _stages_in(text: str) -> Mapping[str, Any]:
    return (yaml.load(text, Loader=SAFE_LOADER) or {}).get("stages", {})


def declared_by_stage(root: Path) -> dict[str, set[str]]:
    """Return stage -> the outputs that dvc.yaml declares of it."""
    return {name: _declared(entry) for name, entry in _stages(root / "dvc.yaml").items()}


def dependencies_of(root: Path, stage: str, params: Mapping[str, Any]) -> list[str]:
    """Return the files and folders that dvc.yaml says a stage reads, files of its parameters included."""
    entry = _stages(root / "dvc.yaml").get(stage, {})
    files = [_path(each) for each in entry.get("params", []) if isinstance(each, Mapping)]
    return [_filled(dep, params) for dep in entry.get("deps", [])] + files


def _path(out: str | Mapping[str, Any]) -> str:
    return out if isinstance(out, str) else next(iter(out))


def _filled(dep: str, params: Mapping[str, Any]) -> str:
    """Return a dependency with `${section.key}` replaced by its value."""
    if not dep.startswith("${"):
        return dep
    section, _, key = dep.removeprefix("${").removesuffix("}").partition(".")
    return str(params[section][key])


def file_md5(path: Path) -> str:
    """Return the md5 of a file, as DVC computes it."""
    digest = md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def revision_of(root: Path) -> str:
    """Return the git commit of a workspace, "" where git does not tell; `git_fault` says why."""
    return _commit_or_fault(root)[0]


def git_fault(root: Path) -> str:
    """Return why git does not tell the commit of a workspace, in one line; "" where it does.

    A clone of another owner is the usual reason: git then refuses to answer ("dubious ownership").
    """
    return _commit_or_fault(root)[1]


def _commit_or_fault(root: Path) -> tuple[str, str]:
    """Return the commit and "", or "" and the reason why there is none."""
    command = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError as error:
        return "", f"git cannot be run: {error.strerror}"
    if answer.returncode == 0:
        return answer.stdout.strip(), ""
    said = answer.stderr.strip().splitlines()
    command_to_run = next((line.strip() for line in said if line.strip().startswith("git config")), "")
    reason = (said[0] if said else "no commit").removeprefix("fatal: ")
    return "", f"{reason}. Run `{command_to_run}`" if command_to_run else reason


def experiment_name() -> str:
    """Return the name of the DVC experiment that runs this process, "" outside `dvc exp run`."""
    return os.environ.get("DVC_EXP_NAME", "")
