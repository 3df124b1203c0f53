"""Safetensors shards: atomic writes with deterministic bytes, and reads whose errors name the file.

The metadata of a shard is one JSON string under one key: with two or more keys the bytes of a safetensors
file differ from process to process.
"""

import json
import os
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
    text = json.dumps(metadata or {}, sort_keys=True, ensure_ascii=False)
    whole = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}  # scalars stay scalars
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
        return {name: shard.get_tensor(name) for name in (present if names is None else names)}


def shard_names(path: Path) -> list[str]:
    """Return the names of a shard's tensors, sorted; errors as `read_shard`."""
    with _opened(path) as shard:
        return sorted(shard.keys())


def shard_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a shard; errors as `read_shard`."""
    with _opened(path) as shard:
        return json.loads((shard.metadata() or {}).get(METADATA_KEY, "{}"))


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
