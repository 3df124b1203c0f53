"""The shell that runs every stage: project root, parameters, exit status, error messages.

Exit status: 0 done, 1 a contract failed, 2 wrong use. A user error prints one line without a traceback.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from moodlens.base.command import exit_status, one_name
from moodlens.base.errors import Unsupported, UsageError, must
from moodlens.compute.monitor import Monitor
from moodlens.params.pipeline import Params, parse_params
from moodlens.store.atomic import remove_left_behind
from moodlens.store.run_record import (
    Record,
    Run,
    Sample,
    experiment_name,
    git_fault,
    inputs_of,
    revision_of,
    write_record,
)
from moodlens.store.stage_outputs import output_digests, require_outputs

QUIET = {
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}
"""Environment variables that turn off telemetry; they must be set before the tools are imported."""

FIRST = "inputs"
"""Stage that runs first, and at every `dvc repro`: what holds for the whole run is said there, once."""
NO_RECORD = (FIRST, "track")
"""Stages that measure nothing: one checks that files exist, the other logs the records."""


WRITTEN = ("data", "metrics", "models/sae", "reports", ".cache/sae")
"""Folders that stages write to."""


class OnceLoader(yaml.SafeLoader):
    """Loads YAML and refuses a key that stands twice: the first value would be dropped in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: list[tuple[str, str]] = []
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                name = (key.tag, key.value)
                if name in keys:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value} stands twice", problem_mark=key.start_mark
                    )
                keys.append(name)
        return super().construct_mapping(node, deep)


CHAPTERS: Mapping[str, Sequence[str]] = {
    "null_text": ("steps", "curve"),
    "temporal": ("layers", "readings", "steps", "spectra"),
    "attention": ("heads", "time"),
    "geometry": ("layers", "points", "spectrum"),
    "relate": ("layers", "descriptors"),
}
"""Stages beside the rungs of the ladder, and the tables in metrics/ that they write. Where the data cannot
support one, its metrics say why and the pipeline goes on."""

Stage = Callable[[Params, Path], Run | None]
"""Does the work of a stage and returns its numbers for the record, None where it measures nothing."""


def project_root() -> Path:
    """Return the workspace: where DVC runs the stage, else `DVC_ROOT`, else the current folder.

    A queued experiment runs in a copy of the workspace while DVC_ROOT names the user's own. A stage that used
    DVC_ROOT there would write to the wrong workspace.

    Raises:
        UsageError: there is no params.yaml, or the folder is not in a git clone (DVC versions data with git).
    """
    named = "." if "DVC_STAGE" in os.environ else os.environ.get("DVC_ROOT", ".")
    root = Path(named).resolve()
    if not (root / "params.yaml").is_file():
        raise UsageError(
            must(
                "the working folder",
                "hold params.yaml",
                str(root),
                next_step="Run from the top of the MoodLens clone",
            )
        )
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise UsageError(
            must(
                "the working folder",
                "be a git clone",
                str(root),
                next_step="DVC versions data with git: clone the repository, or run"
                " `git init && git add -A && git commit -m import`",
            )
        )
    return root


def load_params(root: Path) -> Params:
    """Return the typed parameters of root/params.yaml.

    Raises:
        UsageError: the file is not YAML, or it breaks the schema of `params.pipeline`.
    """
    return parse_params(read_yaml(root / "params.yaml", "params.yaml"))


def read_yaml(path: Path, name: str) -> object:
    """Return the content of a YAML file; messages call the file `name`.

    Raises:
        UsageError: the file is not valid YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=OnceLoader)
    except yaml.YAMLError as error:
        reason, advice = str(error).replace("\n", " "), "Correct the line named"
    except RecursionError:
        reason, advice = "nesting without end", "Simplify it"
    except UnicodeDecodeError as error:
        reason, advice = f"{error.reason} at byte {error.start}", "Save it as UTF-8"
    except (OSError, ValueError) as error:  # an impossible date is a ValueError
        reason, advice = str(error), "Correct the value"
    raise UsageError(must(name, "be valid YAML", reason, next_step=advice))


def run_stage(name: str, load: Callable[[], Stage]) -> int:
    """Run a stage in the project's root, write the record of its run, and return its exit status.

    Args:
        name: of the stage.
        load: imports the stage after the thread count is set, because a BLAS reads it only when imported.
    """

    def work() -> None:
        root = project_root()
        raw = read_yaml(root / "params.yaml", "params.yaml")
        params = parse_params(raw)
        limit_threads(params.compute.threads)
        sections = dict(raw) if isinstance(raw, Mapping) else {}
        inputs = inputs_of(root, name, sections)
        require_outputs(root, name, sections)
        for folder in WRITTEN:
            remove_left_behind(root / folder)
        if name == FIRST and (fault := git_fault(root)):
            print(f"{name}: this run will name no git revision: {fault}")
        stage = load()
        started = time.time()
        with Monitor() as monitor:
            try:
                run = stage(params, root)
            except Unsupported as reason:
                if name not in CHAPTERS:
                    raise
                run = write_not_run(root, name, str(reason))
        record = Record(
            stage=name,
            started_ms=round(started * 1000),
            ended_ms=round(time.time() * 1000),
            revision=revision_of(root),
            experiment=experiment_name(),
            params=sections,
            inputs=inputs,
            samples=tuple(Sample(*sample) for sample in monitor.samples),
            run=run,
            outputs=output_digests(root, name),
        )
        if name not in NO_RECORD:
            write_record(root, record)

    return exit_status(work, kept="finished shards are kept")


def write_not_run(root: Path, name: str, reason: str) -> None:
    """Write the outputs of a chapter that its data cannot support: the reason, and tables without rows."""
    import pandas as pd  # after the thread count is set

    from moodlens.store.tables import write_metrics, write_plot

    print(f"{name}: not run. {reason}")
    write_metrics({"not_run": reason}, root / "metrics" / f"{name}.json")
    for table in CHAPTERS[name]:
        write_plot(pd.DataFrame(columns=["not_run"]), root / "metrics" / f"{name}_{table}.csv")


def limit_threads(threads: int) -> None:
    """Set the thread count of every BLAS and of torch; must run before they are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(threads)


def main(argv: list[str]) -> int:
    """Run `python -m moodlens.stages <name>`: the one entry point that dvc.yaml calls."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    from moodlens.stages import STAGES, load_stage

    def work() -> int:
        name = one_name(argv, STAGES, "the stage")
        return run_stage(name, lambda: load_stage(name))

    return exit_status(work, kept="nothing was started")
