"""`moodlens compare`: DVC experiments side by side, as a table, Markdown, JSON or a picture.

moodlens compare                      workspace, current commit and every experiment started from it
moodlens compare EXP ...              only these experiments, beside the commits that they were started from
moodlens compare --all-commits        also the experiments of earlier commits
moodlens compare --md | --json        for a document, for a program
moodlens compare --picture FILE.svg   effects with intervals, one panel per rung (svg, png or pdf)
"""

import argparse
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from moodlens.base.errors import UsageError, must, nearest
from moodlens.report import comparison as report
from moodlens.report.comparison import WORKSPACE, Comparison, Row
from moodlens.stages import STAGES
from moodlens.store.run_record import SAFE_LOADER, flat, record_path

DECIDE = "decide"
ANOTHER = "`dvc exp run -S model.id=organism-shuffled`"
NEVER_RAN = f"no run here yet: `make repro` makes one, {ANOTHER} one to compare it with"
NO_EXPERIMENT = f"No experiment of this commit: {ANOTHER} makes one; -A shows those of earlier commits."
NOT_RUN = "nothing has run in this workspace: `make repro`"
FORMATS = (".svg", ".png", ".pdf")
WIDTH = 160
"""Columns where the output is no terminal and COLUMNS is not set."""
NARROW = 140
"""Columns below which verdict, effect and interval stand on lines of their own."""


def add_command(subparsers: Any) -> None:
    """Add `compare`, which `run` executes."""
    compare = subparsers.add_parser("compare", help="print DVC experiments side by side: verdicts, effects")
    compare.add_argument(
        "experiments", nargs="*", metavar="EXP", help="names of `dvc exp list`; default: all"
    )
    compare.add_argument(
        "-A", "--all-commits", action="store_true", help="include the experiments of earlier commits"
    )
    form = compare.add_mutually_exclusive_group()
    form.add_argument("--md", action="store_true", help="print a Markdown table")
    form.add_argument("--json", action="store_true", help="print JSON with every changed parameter")
    compare.add_argument("--picture", type=Path, metavar="FILE", help="also write a picture: svg, png or pdf")


def run(chosen: argparse.Namespace, root: Path) -> str:
    """Return the comparison of the chosen experiments as text.

    Raises:
        UsageError: an experiment is unknown, DVC cannot list them, or the picture cannot be written.
    """
    rows = experiment_rows(root, all_commits=chosen.all_commits)
    ran_here = record_path(root, DECIDE).is_file()
    without = all(row["typ"] == "baseline" for row in rows)
    if without and not ran_here:
        return json.dumps({"entries": [], "reason": NEVER_RAN}) if chosen.json else NEVER_RAN
    comparison = report.comparison_of(rows, reasons(root, rows, ran_here=ran_here))
    if chosen.experiments:
        comparison = select(comparison, chosen.experiments)
    if chosen.picture is not None:
        save(comparison, chosen.picture)
    if chosen.json:
        return json.dumps(report.as_record(comparison), indent=2)
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    text = report.markdown(comparison) if chosen.md else table(comparison, width)
    hints = [NO_EXPERIMENT] if without and not chosen.all_commits else []
    written = [f"Picture: {chosen.picture}"] if chosen.picture is not None else []
    return "\n".join([text, *hints, *written])


def experiment_rows(root: Path, *, all_commits: bool) -> Sequence[Row]:
    """Return the rows of `dvc.api.exp_show`: workspace and current commit, or every commit of the branch.

    Raises:
        UsageError: the folder is not a DVC repository, or DVC's record of the queue is damaged.
    """
    from dvc.api import exp_show
    from dvc.exceptions import DvcException

    try:
        return exp_show(repo=str(root), num=-1 if all_commits else 1)
    except (DvcException, OSError) as error:
        advice = "Run `dvc exp show`; after `dvc queue kill`, `rm -r .dvc/tmp/exps` forgets the queue"
        raise UsageError(must("the experiments", "be readable by DVC", error, next_step=advice)) from None


def reasons(root: Path, rows: Sequence[Row], *, ran_here: bool) -> dict[str, str]:
    """Return revision -> why its metrics are not of its parameters, for the workspace and the commits.

    metrics/overview.json stays as it is when params.yaml is edited. dvc.lock holds the parameters that each
    stage ran with.
    """
    result = {}
    for row in rows:
        revision = row["rev"]
        if row["typ"] != "baseline":
            continue
        if revision == WORKSPACE and not ran_here:
            result[WORKSPACE] = NOT_RUN
            continue
        files = [_yaml_at(root, revision, name) for name in ("dvc.lock", "params.yaml")]
        if changed := params_not_run(*files):
            keys = ", ".join(changed[:3]) + (" and others" if len(changed) > 3 else "")
            result[revision] = f"not run with these parameters ({keys} changed): `dvc repro`"
    return result


def params_not_run(lock: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """Return the parameters that dvc.lock records with another value than params.yaml, up to `decide`.

    >>> lock = {"stages": {"prompts": {"params": {"params.yaml": {"prompts.seed": 0}}}}}
    >>> params_not_run(lock, {"prompts": {"seed": 1}}), params_not_run(lock, {"prompts": {"seed": 0}})
    (['prompts.seed'], [])
    """
    now = dict(flat(params))
    changed = []
    for name in STAGES[: STAGES.index(DECIDE) + 1]:
        then = lock.get("stages", {}).get(name, {}).get("params", {}).get("params.yaml", {})
        changed += [key for key, value in flat(then) if now.get(key) != value]
    return sorted(set(changed))


def _yaml_at(root: Path, revision: str, name: str) -> Mapping[str, Any]:
    """Return a YAML file of the workspace or of a commit, empty where it does not exist."""
    if revision == WORKSPACE:
        path = root / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    else:
        command = ["git", "show", f"{revision}:./{name}"]
        text = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout
    return yaml.load(text, Loader=SAFE_LOADER) or {}


def select(comparison: Comparison, names: Sequence[str]) -> Comparison:
    """Return the named entries (by experiment or revision) and the commits they are compared with.

    Raises:
        UsageError: a name is unknown.
    """
    keys = {key: entry for entry in comparison.entries for key in (entry.name, entry.revision)}
    for name in names:
        if name not in keys:
            named = nearest(name, [entry.name for entry in comparison.entries])
            advice = f"{named}{'' if named.endswith('?') else '.'} -A includes those of earlier commits"
            raise UsageError(must("EXP", "name an experiment of this commit", name, next_step=advice))
    wanted = {keys[name].revision for name in names}
    wanted |= {keys[name].baseline for name in names}
    return replace(
        comparison, entries=tuple(entry for entry in comparison.entries if entry.revision in wanted)
    )


def save(comparison: Comparison, path: Path) -> None:
    """Write the picture of a comparison.

    Raises:
        UsageError: the format is unknown, the folder does not exist, or no entry has an effect.
    """
    from moodlens.report.comparison_figure import rungs_with_effect, save_picture

    if path.suffix not in FORMATS:
        advice = "Give the file one of these endings"
        raise UsageError(must("--picture", f"end in {', '.join(FORMATS)}", str(path), next_step=advice))
    if not path.absolute().parent.is_dir():
        raise UsageError(must("--picture", "be in an existing folder", str(path), next_step="Create it"))
    if not rungs_with_effect(comparison):
        advice = "Run the experiments to the end first"
        raise UsageError(must("--picture", "have an effect to draw", "none", next_step=advice))
    save_picture(comparison, path)


def table(comparison: Comparison, width: int) -> str:
    """Return the table, legend and notes as plain text of at most `width` columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    narrow = width < NARROW
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in report.header(comparison):
        grid.add_column(Text(name), overflow="fold", vertical="top")
    for row in report.cells(comparison, narrow=narrow):
        grid.add_row(*(Text(cell) for cell in row), end_section=narrow)
    stream = StringIO()
    console = Console(file=stream, width=width, color_system=None, legacy_windows=False)
    console.print(grid)
    for line in (report.legend(comparison), *report.notes(comparison)):
        console.print(Text(line), soft_wrap=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
