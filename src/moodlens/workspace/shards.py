"""Stored tensors of a set of clips, shard by shard or all together, one row per clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.contracts.tensors import shard_name
from moodlens.store.shards import read_shard
from moodlens.workspace.design import REMAKE, Workspace, need_steps


@dataclass(frozen=True)
class ShardRows:
    """The clips of one shard and their tensors."""

    shard: int
    clips: pd.DataFrame  # rows of the clip table that lie in this shard
    positions: np.ndarray  # (clip,) their positions in the whole clip table
    tensors: dict[str, np.ndarray]  # name -> (clip, ...), in the order of `clips`


def shard_path(root: Path, folder: str, kind: str, shard: int) -> Path:
    """Return `data/<folder>/<kind>-<shard>.safetensors` of a workspace."""
    return root / "data" / folder / shard_name(kind, shard)


def by_shard(
    root: Path, clips: pd.DataFrame, folder: str, kind: str, keys: Sequence[str]
) -> Iterator[ShardRows]:
    """Yield the tensors of `clips` one shard at a time, so that memory does not grow with the clips.

    Args:
        root: workspace.
        clips: rows of table CLIPS, in any order.
        folder: below data/.
        kind: of the shards, e.g. "summary".
        keys: names of the tensors.

    Raises:
        CorruptArtifact: a shard is missing, damaged, or lacks a tensor.
        ContractError: a shard holds fewer clips than the table says.
    """
    order = np.arange(len(clips))
    for number, group in clips.assign(position=order).groupby("shard", sort=True):
        shard = int(str(number))
        path = shard_path(root, folder, kind, shard)
        rows = group["row"].to_numpy()
        tensors = {}
        for name, tensor in read_shard(path, keys).items():
            if rows.max() >= len(tensor):
                got = f"{len(tensor)} clips, row {rows.max()} is requested"
                raise ContractError(must(f"{path.name}, {name}", "hold every clip", got, next_step=REMAKE))
            tensors[name] = tensor[rows]
        positions = group.pop("position").to_numpy()
        yield ShardRows(shard, group, positions, tensors)


def tensors_of(
    work: Workspace, clips: pd.DataFrame, folder: str, kind: str, keys: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the tensors of all clips, one row per clip in the order of `clips`; arguments as `by_shard`.

    Raises:
        StepsNotStored: step states are requested and none are stored, see `need_steps`.
        ContractError: as `by_shard`.
    """
    if (folder, kind) == ("activations", "shard"):
        need_steps(work.root)
    parts: dict[str, list[np.ndarray]] = {}
    positions = []
    for part in by_shard(work.root, clips, folder, kind, keys):
        positions.append(part.positions)
        for name, tensor in part.tensors.items():
            parts.setdefault(name, []).append(tensor)
    order = np.argsort(np.concatenate(positions))
    return {name: np.concatenate(part)[order] for name, part in parts.items()}
