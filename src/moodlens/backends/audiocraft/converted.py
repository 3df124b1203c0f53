"""Converted copies of audiocraft folders in the user's cache: a model is converted once per machine.

A copy is in `converted/<key>` of `digests.moodlens_cache()`; the key is the first half of the SHA-256 of both
files. Beside the copy lies which other folders went into it (text encoder, codec) with their digests: where
one of those has changed, the model is converted again, to another folder. The audiocraft folder is only read.
This module imports no model library until a model has to be converted.
"""

import json
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from moodlens.backends.audiocraft.named_parts import digest_of
from moodlens.backends.checkpoint import AUDIOCRAFT_FILES
from moodlens.backends.digests import file_digest, moodlens_cache
from moodlens.backends.weight_files import missing
from moodlens.base.errors import ContractError, must
from moodlens.store.atomic import replacing


def is_audiocraft(folder: Path) -> bool:
    """Say whether a folder is in audiocraft layout and not also in transformers layout."""
    return (
        any((folder / name).is_file() for name in AUDIOCRAFT_FILES) and not (folder / "config.json").is_file()
    )


def cache_folder() -> Path:
    """Return the folder of converted models."""
    return moodlens_cache() / "converted"


def converted(folder: Path) -> Path:
    """Return the copy of an audiocraft folder in transformers layout; it is made on first use.

    Raises:
        UsageError, ContractError: as `audiocraft.convert.convert`, or the cache cannot be written.
    """
    key = _key(folder)
    if (found := _current(key)) is not None:
        return found
    from moodlens.backends.audiocraft.convert import convert
    from moodlens.backends.audiocraft.convert import parts_of as folders_of

    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache_folder() / f"{key}.lock")
        lock.acquire()
    except OSError as error:
        advice = "Set MOODLENS_CACHE to a folder that can be written, or run `moodlens models convert`"
        got = error.strerror or str(error)
        raise ContractError(must(str(cache_folder()), "be writable", got, next_step=advice)) from None
    with lock:
        if (found := _current(key)) is not None:
            return found
        parts = {str(part): digest_of(part) for part in folders_of(folder)}
        number = len(list(cache_folder().glob(f"{key}*.json")))
        target = cache_folder() / (f"{key}-{number}" if number else key)
        if not target.is_dir():
            convert(folder, target)
        with replacing(_record(target)) as temporary:
            temporary.write_text(json.dumps(parts, indent=1), encoding="utf-8")
        return target


def _current(key: str) -> Path | None:
    """Return the copy whose other folders are as they were, None if there is none."""
    for record in sorted(cache_folder().glob(f"{key}*.json")):
        target = record.with_suffix("")
        try:
            parts = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if target.is_dir() and all(digest_of(Path(part)) == digest for part, digest in parts.items()):
            return target
    return None


def _record(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _key(folder: Path) -> str:
    digest = sha256()
    for name in AUDIOCRAFT_FILES:
        path = folder / name
        if not path.is_file():
            raise missing(folder, name)
        digest.update(file_digest(path).encode())
    return digest.hexdigest()[:32]
