"""Which data a result stands on: the md5 of every upstream dataset, read from dvc.lock."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, ten times as fast as the pure one: dvc.lock lists thousands of lines."""


@dataclass(frozen=True)
class Dataset:
    """One versioned dataset: its path in the workspace, and DVC's md5 (a folder's ends in `.dir`)."""

    path: str
    md5: str


def datasets(root: Path, prefixes: tuple[str, ...] = ("data/",)) -> list[Dataset]:
    """Return every dataset that dvc.lock records as an output below `prefixes`, sorted by path.

    A workspace that was never reproduced has no dvc.lock and so no recorded dataset.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return []
    stages = (yaml.load(lock.read_text(encoding="utf-8"), Loader=SAFE_LOADER) or {}).get("stages", {})
    outs = (out for stage in stages.values() for out in stage.get("outs", []))
    found = {out["path"]: out["md5"] for out in outs if "md5" in out and out["path"].startswith(prefixes)}
    return [Dataset(path, md5) for path, md5 in sorted(found.items())]


def home_of(root: Path) -> Path:
    """Return the user's own workspace: DVC runs queued experiments in a copy below `.dvc/tmp/exps`.

    >>> home_of(Path("/srv/project/.dvc/tmp/exps/standalone/tmpx")).as_posix()
    '/srv/project'
    """
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root


def version_tags(root: Path) -> dict[str, str]:
    """Return what identifies the code: git revision and, inside `dvc exp run`, experiment and baseline."""
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
