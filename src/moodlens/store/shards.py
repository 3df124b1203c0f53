"""Safetensors shards: atomic writes with deterministic bytes, and reads whose errors name the file.

The metadata of a shard is one JSON string under one key: with two or more keys the bytes of a safetensors
file differ from process to process. It holds a checksum of every tensor and of itself, because the format has
none: a flipped bit would be read as another number. A file without them (of another program) is not checked.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from moodlens.base.errors import ContractError, must
from moodlens.store.atomic import replacing

METADATA_KEY = "moodlens"
CHECKSUMS = "crc32"
"""Key of the metadata: name of a tensor -> its checksum; that of the other metadata has an empty name."""
REMAKE = "Delete it and run `dvc repro` again; whole shards are kept"


class CorruptArtifact(ContractError):
    """A stored file that is missing, truncated or damaged."""


def write_shard(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, object] | None = None
) -> None:
    """Write tensors to a shard and return when they are on the disk.

    Args:
        path: the file; it appears under this name only when it is complete.
        tensors: name -> array.
        metadata: JSON values.

    Raises:
        ContractError: the disk is full or the folder cannot be written; the unfinished file is removed.
    """
    about = dict(metadata or {})
    whole = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}  # scalars stay scalars
    checksums = {"": _text_checksum(about)} | {name: _checksum(tensor) for name, tensor in whole.items()}
    text = _json({**about, CHECKSUMS: checksums})
    with replacing(path) as temporary:
        try:
            save_file(whole, str(temporary), metadata={METADATA_KEY: text})
        except SafetensorError as error:  # the library reports a failed write this way
            code = ENOSPC if "os error 28" in str(error) else None
            raise OSError(code, os.strerror(code) if code else str(error)) from None
        temporary.chmod(0o644)  # the library creates files that only their owner can read
        sync_file(temporary)


def sync_file(path: Path) -> None:
    """Return when the bytes of a file are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_shard(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the named tensors of a shard, or all of them.

    Raises:
        CorruptArtifact: the file is missing, truncated or damaged, or lacks a tensor.
    """
    with _opened(path) as shard:
        present = shard.keys()
        for name in names or ():
            if name not in present:
                raise CorruptArtifact(
                    must(f"shard {path}", f"hold {name}", "no such tensor", next_step=REMAKE)
                )
        tensors = {name: shard.get_tensor(name) for name in (present if names is None else names)}
        require_checksums(path, shard.metadata(), tensors)
    return tensors


def shard_names(path: Path) -> list[str]:
    """Return the names of a shard's tensors, sorted; errors as `read_shard`."""
    with _opened(path) as shard:
        return sorted(shard.keys())


def shard_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a shard.

    Raises:
        CorruptArtifact: as `read_shard`, or the shard has no metadata of `write_shard`.
    """
    with _opened(path) as shard:
        if METADATA_KEY not in (shard.metadata() or {}):
            raise CorruptArtifact(must(f"shard {path}", "hold metadata", "none", next_step=REMAKE))
        return require_checksums(path, shard.metadata(), {})


def require_checksums(
    path: Path, metadata: Mapping[str, str] | None, tensors: Mapping[str, np.ndarray], advice: str = REMAKE
) -> dict[str, Any]:
    """Return the metadata that `write_shard` was given, after comparing checksums.

    Args:
        path: the file, for messages.
        metadata: of the safetensors file.
        tensors: some or all of its tensors.
        advice: next step of a message.

    Raises:
        CorruptArtifact: a tensor or the metadata is not what was written.
    """
    about: dict[str, Any] = {}
    if METADATA_KEY not in (metadata or {}):
        return about
    try:
        about = json.loads((metadata or {})[METADATA_KEY])
        checksums = about.pop(CHECKSUMS)
        changed = [] if checksums[""] == _text_checksum(about) else ["metadata"]
        changed += [name for name, tensor in tensors.items() if checksums[name] != _checksum(tensor)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        changed = ["metadata"]
    if changed:
        got = f"{changed[0]} with another checksum"
        raise CorruptArtifact(must(f"shard {path}", "hold what was written", got, next_step=advice))
    return about


def _checksum(tensor: np.ndarray) -> int:
    """Return the CRC-32 of a contiguous array: kind of number, shape and values."""
    head = zlib.crc32(f"{tensor.dtype.str} {tensor.shape}".encode())
    return zlib.crc32(tensor.reshape(-1).view(np.uint8).data, head)


def _text_checksum(about: Mapping[str, object]) -> int:
    return zlib.crc32(_json(json.loads(_json(about))).encode())


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _opened(path: Path) -> Any:  # safe_open has no type of its own
    if not path.is_file():
        raise CorruptArtifact(
            must(f"shard {path}", "exist", "nothing", next_step="Run `dvc repro` to make it")
        )
    try:
        return safe_open(str(path), framework="numpy")
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CorruptArtifact(
            must(f"shard {path}", "be a whole safetensors file", reason, next_step=REMAKE)
        ) from None
