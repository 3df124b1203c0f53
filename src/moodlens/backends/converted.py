"""Converted copies of audiocraft folders, kept in the user's cache: a model is converted once per machine.

`$MOODLENS_CACHE`, else `$XDG_CACHE_HOME/moodlens`, else `~/.cache/moodlens`; below it `converted/<key>`, the
key being the SHA-256 of both files. The audiocraft folder itself is only read.
"""

import os
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from moodlens.backends.checkpoint import AUDIOCRAFT_FILES, missing


def is_audiocraft(folder: Path) -> bool:
    """Say whether a folder is in audiocraft layout (and not also in transformers layout)."""
    return (
        any((folder / name).is_file() for name in AUDIOCRAFT_FILES) and not (folder / "config.json").is_file()
    )


def cache_folder() -> Path:
    """Return where converted models are kept."""
    own, shared = os.environ.get("MOODLENS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    home = Path(shared).expanduser() if shared else Path.home() / ".cache"
    return (Path(own).expanduser() if own else home / "moodlens") / "converted"


def converted(folder: Path) -> Path:
    """Return the transformers-layout copy of an audiocraft folder; made on first use.

    Raises:
        UsageError, ContractError: as `convert.convert`.
    """
    target = cache_folder() / _key(folder)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            from moodlens.backends.convert import convert

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
