"""Stored tensors of a set of clips, one row per clip: all together, shard by shard, or step by step.

States of single steps come one hookpoint of one shard at a time, so memory does not grow with clips.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.capture.recorders import complete_indices
from moodlens.contracts.tensors import shard_name
from moodlens.stats.site_names import split_site
from moodlens.store.shards import read_shard, shard_names
from moodlens.workspace.design import KEEP_STEPS, REMAKE, StepsNotStored, Workspace, manifest_of, need_steps


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


FOR_CURVES = "to get curves over time"


@dataclass(frozen=True)
class Clock:
    """The stored steps that all clips share, evenly spaced: every stride-th decoder step of one stretch."""

    complete: slice  # stored steps at which every codebook outputs a token
    stored: tuple[int, ...]  # decoder step of every stored step
    frame_rate_hz: float  # decoder steps per second

    @property
    def steps(self) -> np.ndarray:
        """The decoder step of each complete stored step."""
        return np.array(self.stored[self.complete])

    @property
    def n_complete(self) -> int:
        return self.complete.stop - self.complete.start

    @property
    def stride(self) -> int:
        """Decoder steps from one complete step to the next, where there is no gap."""
        return int(np.diff(self.steps).min()) if self.n_complete > 1 else 1

    @property
    def rate_hz(self) -> float:
        """Stored steps per second."""
        return self.frame_rate_hz / self.stride

    @property
    def first(self) -> int:
        """The number of strides from the start of the clip to the first complete step."""
        return int(self.steps[0]) // self.stride


def clock_of(work: Workspace, clips: pd.DataFrame) -> Clock:
    """Return the stored steps of the clips.

    Raises:
        StepsNotStored: no steps are stored, or the stored windows leave gaps between them.
        ContractError: clips differ in length, or are too short for a complete step.
    """
    lengths = sorted(set(zip(clips["n_steps"], clips["n_frames"], strict=True)))
    if len(lengths) != 1:
        got = ", ".join(str(steps) for steps, _ in lengths[:4])
        rule = "have one number of steps, so that step t is the same moment in all"
        raise ContractError(must("clips", rule, got, next_step=REMAKE))
    n_steps, n_frames = lengths[0]
    stored = need_steps(work.root, f"{KEEP_STEPS} {FOR_CURVES}")
    complete = complete_indices(stored, int(n_steps), int(n_steps - n_frames + 1))
    clock = Clock(complete, stored, float(n_frames / clips["duration_s"].mean()))
    gaps = np.flatnonzero(np.diff(clock.steps) != clock.stride)
    if gaps.size:
        windows = manifest_of(work.root)["capture"]["windows"]
        got = [[round(edge / clock.frame_rate_hz, 3) for edge in window] for window in windows]
        rule = "leave no gap between stored steps"
        where = f"no step between {clock.steps[gaps[0]]} and {clock.steps[gaps[0] + 1]}"
        advice = f"Set one window, or [] to store all, in params.yaml and run `dvc repro` {FOR_CURVES}"
        raise StepsNotStored(must("generate.windows", rule, got, where=where, next_step=advice))
    return clock


def hookpoints(work: Workspace, clips: pd.DataFrame) -> list[str]:
    """Return <hookpoint>/<half> of every stored site, layers in order."""
    first = shard_path(work.root, "activations", "shard", int(clips["shard"].iloc[0]))
    keys = shard_names(first)
    if not keys:
        raise ContractError(must(first.name, "hold states of layers", "none", next_step=REMAKE))
    return sorted(keys, key=split_site)


def states_by_shard(
    work: Workspace, clips: pd.DataFrame, clock: Clock, key: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (positions, states) of one hookpoint, shard by shard.

    `positions` are the rows of `clips`, `states` their complete steps, (clip, step, d_model) float32.

    Raises:
        ContractError: a shard lacks clips or steps, or holds a value that is not finite.
    """
    for part in by_shard(work.root, clips, "activations", "shard", [key]):
        name, stored = shard_name("shard", part.shard), part.tensors[key]
        if stored.shape[1] != len(clock.stored):
            rule = f"hold {len(clock.stored)} steps"
            raise ContractError(must(f"{name}, {key}", rule, stored.shape[1], next_step=REMAKE))
        states = stored[:, clock.complete].astype(np.float32)
        bad = ~np.isfinite(states).all(axis=(1, 2))
        if bad.any():
            clip_id = part.clips["clip_id"].iloc[int(bad.argmax())]
            got = f"a value that is not, clip {clip_id}"
            advice = "The model overflows float16: check its dtype"
            raise ContractError(must(f"{name}, {key}", "be finite", got, next_step=advice))
        yield part.positions, states
