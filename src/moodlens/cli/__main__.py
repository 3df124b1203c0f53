"""`moodlens`: commands beside the pipeline.

moodlens verdict   print the verdict of the run in this workspace, which run it is, and the path of the report
moodlens models    list, download, convert and verify models
moodlens plan      forecast time, memory and disk of the pipeline for a model
moodlens compare   compare DVC experiments: verdict and effect by rung, parameters that differ
moodlens publish   copy the numbers of the run to docs/published, which the documentation quotes
moodlens track     log the run to MLflow, if that failed when it ended
moodlens ui        print which page of MLflow answers which question, and serve the pages
moodlens doctor    check whether this machine and clone can run the pipeline, and say how to fix faults
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from moodlens.base.command import exit_status
from moodlens.base.errors import MoodLensError
from moodlens.cli import compare, models, plan, track
from moodlens.cli.publish import publish
from moodlens.cli.verdict import verdict
from moodlens.plots import dvc_page
from moodlens.stages.shell import load_params, project_root

PACKAGES = (
    "torch",
    "transformers",
    "dvc",
    "mlflow",
    "great-expectations",
    "scikit-learn",
    "librosa",
    "pandas",
)
NEEDED_GB = 6.0
"""Disk of a fresh workspace: environment 4.5 GB, datasets and DVC's copy of them 0.3 GB, and free space."""


@dataclass(frozen=True)
class Finding:
    """The result of one check of `doctor`; `advice` is empty if nothing is wrong."""

    subject: str
    result: str
    advice: str = ""


def examine(root: Path) -> Iterator[Finding]:
    """Yield the checks of what the pipeline needs: packages, disk, the page of plots, parameters, weights."""
    for name in PACKAGES:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed", "Run `make repro`, which installs the pinned set")
    free_gb = shutil.disk_usage(root).free / 1e9
    advice = "" if free_gb >= NEEDED_GB else f"Free {NEEDED_GB - free_gb:.1f} GB"
    yield Finding("free disk", f"{free_gb:.1f} GB", advice)
    if dvc_page.is_current(root):
        yield Finding("page of dvc plots", "written")
    else:
        advice = f"Run `{dvc_page.COMMAND}`"
        yield Finding("page of dvc plots", "missing or of another version", advice)
    try:
        params = load_params(root)
    except MoodLensError as error:
        yield Finding("params.yaml", "refused", str(error))
        return
    yield Finding("params.yaml", "accepted")
    from moodlens.backends import catalog
    from moodlens.store.experiment_copy import advice_for_queue
    from moodlens.store.run_record import git_fault

    fault = git_fault(root)
    advice = f"Runs here name no revision: {fault}" if fault else ""
    yield Finding("git revision", "unknown" if fault else "known", advice)
    yield Finding("MLflow store", *track.state_of_store(root))
    folder = params.model.id.removeprefix(catalog.AUDIOCRAFT)
    for subject, path in (("prompts.table_path", params.prompts.table_path), ("model.id", folder)):
        if advice := advice_for_queue(path, root):  # no fault: `dvc repro` sees the file
            yield Finding(subject, f"queued runs do not see {path}; {advice}")
    try:
        info = catalog.describe(catalog.find(params.model, root), params.model)
    except MoodLensError as error:
        yield Finding(f"model {params.model.id}", "refused", str(error))
        return
    yield Finding(
        f"model {params.model.id}",
        f"{info.n_layers} layers x {info.d_model}, sha256 {info.weights_sha256[:12]}",
    )


def doctor(root: Path) -> tuple[str, bool]:
    """Return the findings as lines, and whether no check failed."""
    findings = list(examine(root))
    lines = [f"{'ok' if not f.advice else '!!'}  {f.subject:<20} {f.result}" for f in findings]
    lines += [f"    -> {f.advice}" for f in findings if f.advice]
    return "\n".join(lines), not any(f.advice for f in findings)


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 1 a check failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="moodlens", description="Commands beside the pipeline.")
    commands = parser.add_subparsers(dest="command", required=True)
    of_run = commands.add_parser("verdict", help="print the verdict of the run here, and which run it is")
    of_run.add_argument("--json", action="store_true", help="as JSON, with every number behind it")
    commands.add_parser("publish", help="copy the numbers of the run to docs/published")
    commands.add_parser("doctor", help="check whether this machine and clone can run the pipeline")
    models.add_commands(commands)
    plan.add_command(commands)
    compare.add_command(commands)
    track.add_commands(commands)
    try:
        chosen = parser.parse_args(argv)
    except SystemExit as stop:  # after --help, or after a mistake that argparse has named
        code = int(stop.code or 0)
        return exit_status(lambda: code, kept="nothing was started", is_reader=True)
    reads = chosen.command not in ("models", "publish", "track")
    return exit_status(lambda: _run(chosen), kept="finished downloads are kept", is_reader=reads)


def _run(chosen: argparse.Namespace) -> int:
    root = project_root()
    passed = True
    if chosen.command == "verdict":
        text, passed = verdict(root, as_json=chosen.json)
    elif chosen.command == "publish":
        text = publish(root)
    elif chosen.command == "models":
        text = models.run(chosen, root)
    elif chosen.command == "plan":
        text = plan.run(chosen, root, load_params(root))
    elif chosen.command in ("track", "ui"):
        text, passed = track.run(chosen, root)
    elif chosen.command == "compare":
        text = compare.run(chosen, root)
    else:
        text, passed = doctor(root)
    print(text)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
