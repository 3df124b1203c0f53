"""Converted copies of audiocraft folders in the user's cache: a model is converted once per machine.

The cache is `$MOODLENS_CACHE`, else `$XDG_CACHE_HOME/moodlens`, else `~/.cache/moodlens`. A copy is in
`converted/<key>` below it; the key is the first half of the SHA-256 of both files. The audiocraft folder is
only read. This module imports no model library until a model has to be converted.
"""

import os
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from moodlens.backends.checkpoint import AUDIOCRAFT_FILES, missing


def is_audiocraft(folder: Path) -> bool:
    """Say whether a folder is in audiocraft layout and not also in transformers layout."""
    return (
        any((folder / name).is_file() for name in AUDIOCRAFT_FILES) and not (folder / "config.json").is_file()
    )


def cache_folder() -> Path:
    """Return the folder of converted models."""
    own, shared = os.environ.get("MOODLENS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    home = Path(shared).expanduser() if shared else Path.home() / ".cache"
    return (Path(own).expanduser() if own else home / "moodlens") / "converted"


def converted(folder: Path) -> Path:
    """Return the copy of an audiocraft folder in transformers layout; it is made on first use.

    Raises:
        UsageError, ContractError: as `audiocraft.convert.convert`.
    """
    target = cache_folder() / _key(folder)
    if target.is_dir():
        return target
    from moodlens.backends.audiocraft.convert import convert

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            convert(folder, target)
    return target


def _key(folder: Path) -> str:
    digest = sha256()
    for name in AUDIOCRAFT_FILES:
        path = folder / name
        if not path.is_file():
            raise missing(folder, name)
        with path.open("rb") as stream:
            while part := stream.read(1 << 24):
                digest.update(part)
    return digest.hexdigest()[:32]
