"""Folders in which libraries keep compiled code and settings, where their own cannot be written.

numba refuses to compile a cached function without one, and so `import librosa` and our own compiled loops
would end a stage in a container without a home, or with a read-only one. matplotlib warns and is slow.
"""

import os
import sys
from pathlib import Path

from moodlens.base.errors import must

CACHES = {
    "NUMBA_CACHE_DIR": ("XDG_CACHE_HOME", "~/.cache", "numba"),
    "MPLCONFIGDIR": ("XDG_CONFIG_HOME", "~/.config", "matplotlib"),
}
"""Variable that names the folder -> variable, else path, of the folder around the usual one, and its name."""


def use_writable_caches(spare: Path) -> None:
    """Send each cache whose folder cannot be written to a folder below `spare`.

    Must run before the libraries are imported; processes started later inherit it. A folder that the user
    named is replaced with a line on stderr. Nothing is changed where `spare` cannot be written either.
    """
    for variable, (around, usual, name) in CACHES.items():
        given = os.environ.get(variable)
        own = given or str(Path(os.environ.get(around) or usual) / name)
        if can_be_written(own) or not can_be_written(str(spare)):
            continue
        used = str(spare.absolute() / name)
        if given:
            rule = "name a folder that can be written"
            print(must(variable, rule, given, next_step=f"{used} is used"), file=sys.stderr)
        os.environ[variable] = used


def can_be_written(folder: str) -> bool:
    """Return whether files can be written in a folder, or it can be created; creates nothing.

    >>> can_be_written("."), can_be_written("/dev/null/cache")
    (True, False)
    """
    expanded = os.path.expanduser(folder)
    if expanded.startswith("~"):  # a user without a home
        return False
    path = Path(expanded)
    nearest = next((each for each in (path, *path.parents) if os.path.lexists(each)), Path())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
