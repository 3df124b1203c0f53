"""SHA-256 of model files, remembered per machine so that large weights are not read again by every stage.

A digest is remembered with the file's size, inode, and times of change. The time of the last change of the
inode (`st_ctime_ns`) cannot be set by a user, so an overwritten file is read again even where size and
modification time are as before. Where the folder cannot be written, nothing is remembered.
"""

import json
import os
import time
from hashlib import sha256
from pathlib import Path

from moodlens.base.errors import ContractError
from moodlens.store.atomic import replacing
from moodlens.store.receipts import file_sha256

SETTLED_NS = 2_000_000_000
"""A file changed more recently than this is read again: its times may not tell two changes apart."""
LEAST_BYTES = 1_000_000
"""Smaller files are read every time."""


def moodlens_cache() -> Path:
    """Return `$MOODLENS_CACHE`, else `$XDG_CACHE_HOME/moodlens`, else `~/.cache/moodlens`."""
    own, shared = os.environ.get("MOODLENS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    home = Path(shared).expanduser() if shared else Path.home() / ".cache"
    return Path(own).expanduser() if own else home / "moodlens"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; an unchanged file of a megabyte or more is read once."""
    path = path.resolve()
    status = path.stat()
    if status.st_size < LEAST_BYTES:
        return file_sha256(path)
    state = [str(path), status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
    place = moodlens_cache() / "digests" / f"{sha256(str(path).encode()).hexdigest()[:32]}.json"
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["file"] == state:
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not remembered yet
    digest = file_sha256(path)
    if time.time_ns() - status.st_ctime_ns > SETTLED_NS and path.stat().st_ctime_ns == status.st_ctime_ns:
        _remember(place, {"file": state, "sha256": digest})
    return digest


def _remember(place: Path, entry: dict[str, object]) -> None:
    try:
        with replacing(place) as temporary:
            temporary.write_text(json.dumps(entry), encoding="utf-8")
    except ContractError:
        return
