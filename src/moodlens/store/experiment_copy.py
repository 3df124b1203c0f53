"""Files that the copy of an experiment lacks: `dvc exp run --queue` and `--temp` copy only tracked files.

DVC runs such an experiment below `.dvc/tmp/exps`. The copy holds what git tracks, untracked changes of those
files, and the data of every `.dvc` file that git tracks. Anything else of the user's workspace is absent.
"""

import subprocess
from pathlib import Path

from moodlens.base.errors import UsageError, must
from moodlens.store.tracking import home_of


def require_tracked(thing: str, path: str, root: Path) -> None:
    """Return if `path` is here, or if it is not in the user's workspace either.

    Args:
        thing: the parameter that names the path, for the error.
        path: as the parameter has it, relative to the workspace or absolute.
        root: workspace of the run, perhaps a copy.

    Raises:
        UsageError: the path is in the user's workspace and this copy of it lacks the path.
    """
    home = home_of(root)
    here, there = root / Path(path).expanduser(), home / Path(path).expanduser()
    if not path or home == root or here.exists() or not there.exists():
        return
    rule = "be tracked by git, or a queued run cannot see it"
    raise UsageError(must(thing, rule, path, next_step=f"{_how_to_track(path, home)}, or give {there}"))


def advice_for_queue(path: str, root: Path) -> str:
    """Return how queued experiments can see a path of the workspace.

    "" where they see it already: it is absolute, tracked by git or by DVC, or it does not exist. "" too where
    git does not tell (`run_record.git_fault`).
    """
    if not path or Path(path).is_absolute() or not (root / path).exists():
        return ""
    within = [folder.as_posix() for folder in (Path(path), *Path(path).parents[:-1])]
    command = ["git", "ls-files", "--", path, *(f"{folder}.dvc" for folder in within)]
    try:
        listed = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    except OSError:  # there is no git
        return ""
    seen = listed.returncode != 0 or listed.stdout.strip() != ""
    return "" if seen else f"{_how_to_track(path, root)}, or give {root / path}"


def _how_to_track(path: str, home: Path) -> str:
    path = path.rstrip("/")
    if (home / f"{path}.dvc").is_file():
        return f"`git add {path}.dvc`"
    ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=home, check=False, capture_output=True)
    if ignored.returncode == 0:
        return f"Move it out of what .gitignore names, or `git add -f {path}`"
    return f"`git add {path}`, or `dvc add {path}` and `git add {path}.dvc`"
