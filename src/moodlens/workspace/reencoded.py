"""Re-encoded states of a workspace: stored shards in, readers over the emotional prompts out."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.codes.histograms import token_history
from moodlens.contracts.tables import SWAPS
from moodlens.contracts.tensors import CODEC_HISTORY, MEMORIES, MODELS, NETWORKS, NO_STATE
from moodlens.null_text.readers import Reader
from moodlens.stats.gram import SiteGram, prompt_grams, site_gram
from moodlens.store.tables import read_metrics, read_table
from moodlens.workspace.design import Workspace, clip_table
from moodlens.workspace.shards import tensors_of

FEWEST_DRAWS = 5
"""Untrained decoders that a trained one is compared with, at least."""
REMAKE = "Run `dvc repro reencode` to read the clips again"


@dataclass(frozen=True)
class Reencoded:
    """The folder data/reencoded of a workspace, and the clips it holds."""

    work: Workspace
    manifest: dict[str, Any]

    @property
    def steps(self) -> list[int]:
        return self.manifest["steps"]

    @property
    def n_draws(self) -> int:
        """The number of untrained decoders whose memories are stored."""
        return self.manifest["n_draws"]

    @property
    def hookpoints(self) -> list[str]:
        """The hookpoints that can hold a state: neither the input nor those that are 0 under null text."""
        return [name for name in self.manifest["hookpoints"] if name.split(".")[0] not in NO_STATE]

    @cached_property
    def clips(self) -> pd.DataFrame:
        return clip_table(self.work)

    @property
    def prompts(self) -> np.ndarray:
        """The index of each clip's prompt in the design."""
        return self.clips["prompt"].to_numpy()

    def tensors(self, keys: list[str]) -> dict[str, np.ndarray]:
        """Return stored tensors, one row per clip.

        Raises:
            ContractError: a shard is absent, truncated, lacks a tensor or clips.
        """
        return tensors_of(self.work, self.clips, "reencoded", "summary", keys)

    def means(self, model: str, condition: str) -> list[SiteGram]:
        """Return one site per hookpoint: means over the steps of each clip."""
        keys = {name: f"{model}/{condition}/{name}/mean" for name in self.hookpoints}
        means = self.tensors(list(keys.values()))
        return [site_gram(name, means[key], self.prompts) for name, key in keys.items()]

    def single_steps(self, model: str, condition: str) -> Reader:
        """Return the reader of one model's stored steps at every hookpoint."""
        keys = [f"{model}/{condition}/{name}/steps" for name in self.hookpoints]
        states = self.tensors(keys)
        for key in keys:
            if states[key].shape[1] != len(self.steps):
                rule = f"hold the {len(self.steps)} steps of the manifest"
                raise ContractError(must(key, rule, states[key].shape[1], next_step=REMAKE))
        grams = [
            prompt_grams([site_gram(key, states[key][:, i], self.prompts) for key in keys])
            for i in range(len(self.steps))
        ]
        return Reader(model, np.stack(grams))

    def memories(self, draw: int) -> list[Reader]:
        """Return one untrained decoder's readers, one per memory in the order of MEMORIES."""
        stacks = [self._memories(f"memory-{draw}", hookpoint) for hookpoint in self.hookpoints]
        by_memory = np.stack(stacks, axis=2)  # (memory, step, layer, prompt, prompt)
        return [Reader(name, grams) for name, grams in zip(MEMORIES, by_memory, strict=True)]

    def networks(self) -> list[Reader]:
        """Return the readers of the recurrent network, untrained and trained, memories in place of layers."""
        return [Reader(name, self._memories("recurrent", name).transpose(1, 0, 2, 3)) for name in NETWORKS]

    def _memories(self, kind: str, key: str) -> np.ndarray:
        """Return the Gram matrices of one tensor, (memory, step, prompt, prompt)."""
        stored = tensors_of(self.work, self.clips, "reencoded", kind, [key])[key]
        if stored.shape[1:3] != (len(MEMORIES), len(self.steps)):
            rule = f"hold {len(MEMORIES)} memories at {len(self.steps)} steps"
            raise ContractError(must(f"{kind}, {key}", rule, stored.shape[1:3], next_step=REMAKE))
        return np.stack(
            [
                prompt_grams([site_gram(f"{kind}, {key}", rows, self.prompts) for rows in steps])
                for steps in stored.transpose(1, 2, 0, 3)
            ]
        )

    def token_history(self) -> Reader:
        """Return the reader of the histograms of the tokens fed up to each stored step."""
        return self._history("token history", self.token_rows())

    def token_rows(self) -> list[np.ndarray]:
        """Return the histograms of the tokens fed up to each stored step, (clip, entry) each."""
        codes = tensors_of(self.work, self.clips, "codes", "shard", ["codes"])["codes"]
        size = int(codes.max()) + 1
        n_channels = int(self.manifest["model"]["audio_channels"])
        return [token_history(codes, step, size, n_channels) for step in self.steps]

    def codec_history(self) -> Reader:
        """Return the reader of the mean codec vectors fed up to each stored step."""
        return self._history("codec history", self.codec_rows())

    def codec_rows(self) -> list[np.ndarray]:
        """Return the mean codec vectors fed up to each stored step, (clip, d_codec) each."""
        stored = self.tensors([CODEC_HISTORY])[CODEC_HISTORY]
        return [stored[:, i] for i in range(len(self.steps))]

    def _history(self, name: str, rows: list[np.ndarray]) -> Reader:
        sites = [
            site_gram(f"{name} to step {step}", row, self.prompts)
            for step, row in zip(self.steps, rows, strict=True)
        ]
        return Reader(name, prompt_grams(sites)[:, None])

    def states(self, model: str, condition: str, part: str) -> np.ndarray:
        """Return one part of all hookpoints, concatenated, (clip, width) float64.

        Args:
            model: name of the model.
            condition: text it was given.
            part: of the stored tensors, e.g. "mean"; of "steps" the first one is returned.
        """
        keys = [f"{model}/{condition}/{name}/{part}" for name in self.hookpoints]
        states = self.tensors(keys)
        if part == "steps":
            states = {key: steps[:, 0] for key, steps in states.items()}
        return np.concatenate([states[key].astype(np.float64) for key in keys], axis=-1)

    def swapped_labels(self) -> np.ndarray:
        """Return the emotion of each clip's swapped text, (clip,); -1 if the design does not hold it."""
        table = read_table(SWAPS, self.work.root / "data" / "reencoded" / "swaps.parquet")
        swapped = table.set_index("clip_id")["swapped_emotion"].loc[self.clips["clip_id"]]
        names = list(self.work.design.emotions)
        return np.array([names.index(name) if name in names else -1 for name in swapped])


def open_reencoded(work: Workspace) -> Reencoded:
    """Return the re-encoded states of a workspace.

    Raises:
        ContractError: data/reencoded has no manifest, or one that lacks a model or a memory.
    """
    manifest: dict[str, Any] = read_metrics(work.root / "data" / "reencoded" / "manifest.json")
    if tuple(manifest.get("models", ())) != MODELS or len(manifest.get("steps", ())) < 2:
        rule = f"hold the states of {', '.join(MODELS)} at single steps"
        raise ContractError(must("data/reencoded", rule, manifest.get("models"), next_step=REMAKE))
    if tuple(manifest.get("memories", ())) != MEMORIES or manifest.get("n_draws", 0) < FEWEST_DRAWS:
        rule = f"hold the memories of at least {FEWEST_DRAWS} untrained decoders"
        raise ContractError(must("data/reencoded", rule, manifest.get("n_draws", "none"), next_step=REMAKE))
    reencoded = Reencoded(work, manifest)
    if not reencoded.hookpoints:
        rule, advice = "hold a site that null text leaves a state", "Add residual to reencode.sites"
        raise ContractError(must("data/reencoded", rule, manifest["hookpoints"], next_step=advice))
    return reencoded
