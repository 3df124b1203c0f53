"""Stored states step by step: one hookpoint of one shard at a time, so memory does not grow with clips."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.capture.running import complete_places
from moodlens.contracts.tensors import shard_name, stored_steps
from moodlens.stages.sites import place_of
from moodlens.stages.workspace import REMAKE, Workspace, need_steps
from moodlens.store.shards import read_shard, shard_names


@dataclass(frozen=True)
class Clock:
    """The stored steps that all clips share; every `generate.step_stride`-th decoder step is stored."""

    complete: slice  # stored steps at which every codebook puts out a token
    n_steps: int  # all stored steps of a clip
    rate_hz: float  # stored steps per second

    @property
    def n_complete(self) -> int:
        return self.complete.stop - self.complete.start


def clock_of(work: Workspace, clips: pd.DataFrame) -> Clock:
    """Return the steps of the clips.

    Raises:
        ContractError: clips differ in length, or are too short for a complete step.
    """
    lengths = sorted(set(zip(clips["n_steps"], clips["n_frames"], strict=True)))
    if len(lengths) != 1:
        got = ", ".join(str(steps) for steps, _ in lengths[:4])
        rule = "have one number of steps, so that step t is the same moment in all"
        raise ContractError(must("clips", rule, got, next_step=REMAKE))
    n_steps, n_frames = lengths[0]
    stride = need_steps(work.root)
    places = complete_places(int(n_steps), int(n_steps - n_frames + 1), stride)
    rate_hz = float(n_frames / clips["duration_s"].mean())
    return Clock(places, len(stored_steps(int(n_steps), stride)), rate_hz / stride)


def hookpoints(work: Workspace, clips: pd.DataFrame) -> list[str]:
    """Return <hookpoint>/<half> of every stored site, layers in order."""
    first = work.root / "data" / "activations" / shard_name("shard", int(clips["shard"].iloc[0]))
    keys = shard_names(first)
    if not keys:
        raise ContractError(must(first.name, "hold states of layers", "none", next_step=REMAKE))
    return sorted(keys, key=place_of)


def states_by_shard(
    work: Workspace, clips: pd.DataFrame, clock: Clock, key: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (places, states) of one hookpoint, shard by shard.

    `places` are the rows of `clips`, `states` their complete steps, (clip, step, d_model) float32.

    Raises:
        ContractError: a shard lacks clips or steps, or holds a value that is not finite.
    """
    order = np.arange(len(clips))
    for shard, group in clips.assign(place=order).groupby("shard", sort=True):
        name = shard_name("shard", int(str(shard)))
        stored = read_shard(work.root / "data" / "activations" / name, [key])[key]
        rows = group["row"].to_numpy()
        if rows.max() >= len(stored):
            got = f"{len(stored)} clips, row {rows.max()} is asked for"
            raise ContractError(must(f"{name}, {key}", "hold every clip", got, next_step=REMAKE))
        if stored.shape[1] != clock.n_steps:
            rule = f"hold {clock.n_steps} steps"
            raise ContractError(must(f"{name}, {key}", rule, stored.shape[1], next_step=REMAKE))
        states = stored[rows, clock.complete].astype(np.float32)
        bad = ~np.isfinite(states).all(axis=(1, 2))
        if bad.any():
            clip_id = group["clip_id"].iloc[int(bad.argmax())]
            got = f"a value that is not, clip {clip_id}"
            advice = "The model overflows float16: check its dtype"
            raise ContractError(must(f"{name}, {key}", "be finite", got, next_step=advice))
        yield group["place"].to_numpy(), states
