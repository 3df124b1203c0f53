"""The memory of untrained decoders: their states, running means and leaky sums, at the stored steps.

A trained decoder may keep what it has heard. So may any network whose states are averaged, trained or not.
The untrained decoders of `reencode` are therefore stored with seven memories (`contracts.tensors.MEMORIES`).
Each memory is a weighted sum of the states so far, so all of them are one matrix product per clip and
hookpoint.

Decoder 0 is the untrained twin and decoder 1 the random decoder, whose null-text states every shard computes
anyway. The others are random decoders of the seeds that follow (`stages.reencode.further_draws`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from moodlens.contracts.backend import Capture
from moodlens.contracts.tensors import LEAKS, NO_STATE, shard_name

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend

SHARED = {"twin": 0, "random_decoder": 1}
"""Untrained models of `contracts.tensors.MODELS` -> their number among the untrained decoders."""


@dataclass(frozen=True)
class Memories:
    """Memories of one untrained decoder, gathered clip by clip."""

    weights: Float[np.ndarray, "memory stored step"]
    parts: dict[str, list[np.ndarray]]  # hookpoint -> (1, memory, stored, width) of each clip

    def add(self, key: str, states: Float[np.ndarray, "clip step width"]) -> None:
        """Add the states of one clip at one hookpoint; `key` is <hookpoint>/<half>."""
        hookpoint = key.split("/")[0]
        if hookpoint.split(".")[0] not in NO_STATE:
            self.parts.setdefault(hookpoint, []).append(remembered(states, self.weights))

    def tensors(self) -> dict[str, Float[np.ndarray, "clip memory stored width"]]:
        """Return the tensors of a memory shard."""
        return {name: np.concatenate(parts) for name, parts in self.parts.items()}


def gather(steps: tuple[int, ...], n_steps: int) -> Memories:
    """Return empty memories at the stored steps of clips of `n_steps` decoder steps."""
    return Memories(memory_weights(steps, n_steps), {})


def memory_weights(steps: tuple[int, ...], n_steps: int) -> Float[np.ndarray, "memory stored step"]:
    """Return the weight of every step in every memory at every stored step, in the order of MEMORIES.

    >>> memory_weights((1,), 3)[:3].tolist()        # the state, the running mean, leak 0.5
    [[[0.0, 1.0, 0.0]], [[0.5, 0.5, 0.0]], [[0.25, 0.5, 0.0]]]
    """
    age = np.array(steps)[:, None] - np.arange(n_steps)
    past = age >= 0
    mean = past / past.sum(axis=1, keepdims=True)
    leaky = [(1 - leak) * np.where(past, leak ** np.maximum(age, 0), 0.0) for leak in LEAKS]
    return np.stack([(age == 0).astype(np.float64), mean, *leaky])


def remembered(
    states: Float[np.ndarray, "clip step width"], weights: Float[np.ndarray, "memory stored step"]
) -> Float[np.ndarray, "clip memory stored width"]:
    """Return the memories of a clip's states as float16."""
    flat = weights.reshape(-1, weights.shape[2]).astype(np.float32) @ states
    return flat.reshape(len(states), *weights.shape[:2], states.shape[2]).astype(np.float16)


def memory_path(data: Path, draw: int, shard: int) -> Path:
    """Return the file of one untrained decoder and one shard."""
    return data / "reencoded" / shard_name(f"memory-{draw}", shard)


def remember(
    backend: "MusicBackend", codes: np.ndarray, capture: Capture, steps: tuple[int, ...]
) -> dict[str, Float[np.ndarray, "clip memory stored width"]]:
    """Return the memory shard of an untrained decoder, clip by clip under null text."""
    memories: Memories | None = None
    for row in range(len(codes)):
        made = backend.teacher_force(codes[row : row + 1], [None], capture)
        memories = memories or gather(steps, made.n_steps)
        for key, states in made.values.items():
            memories.add(key, states)
    return memories.tensors() if memories else {}
