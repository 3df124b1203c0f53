"""What analysis stages read: the emotional prompts of a workspace, its clips, and tensors row by clip.

Whole wordings as the units of a test: who they are, and resamples of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, UsageError, must
from moodlens.contracts.tables import ACOUSTICS, CLIPS, NEUTRAL, PROMPTS
from moodlens.contracts.tensors import shard_name, stored_steps
from moodlens.stats.bootstrap import resamples
from moodlens.stats.design import Design, design_of
from moodlens.store.shards import read_shard
from moodlens.store.tables import read_metrics, read_table

REMAKE = "Run `dvc repro` to make the clips again"
KEEP_STEPS = "Set it to false in params.yaml and run `dvc repro`"


class StepsNotStored(UsageError):
    """The clips were generated under a capture policy that keeps no single steps of the kind asked for."""


@dataclass(frozen=True)
class Workspace:
    """The emotional prompts of a workspace and where each stands in the prompt table."""

    root: Path
    design: Design
    rows: np.ndarray  # (prompt,) row of each prompt in data/prompts.csv
    n_table: int  # rows of that table, neutral prompts included

    def index_of(self, prompt_ids: Sequence[str]) -> np.ndarray:
        """Return the index of each prompt in the design, -1 for a neutral one."""
        places = {prompt_id: i for i, prompt_id in enumerate(self.design.prompt_ids)}
        return np.array([places.get(prompt_id, -1) for prompt_id in prompt_ids])


def open_workspace(root: Path) -> Workspace:
    """Return the design of data/prompts.csv, neutral prompts left out."""
    table = read_table(PROMPTS, root / "data" / "prompts.csv")
    felt = table[table["emotion"] != NEUTRAL]
    design = design_of(felt["prompt_id"].tolist(), felt["emotion"].tolist(), felt["wording"].tolist())
    return Workspace(root, design, felt.index.to_numpy(), len(table))


def clip_table(work: Workspace) -> pd.DataFrame:
    """Return the clips of emotional prompts, with the index of each one's prompt."""
    table = read_table(CLIPS, work.root / "data" / "clips.parquet")
    table = table.assign(prompt=work.index_of(table["prompt_id"].tolist()))
    table = table.loc[table["prompt"] >= 0]
    missing = np.setdiff1d(np.arange(work.design.n_prompts), table["prompt"])
    if missing.size:
        prompt_id = work.design.prompt_ids[missing[0]]
        raise ContractError(must(f"prompt {prompt_id}", "have clips", "none", next_step=REMAKE))
    return table


def acoustic_table(work: Workspace) -> pd.DataFrame:
    """Return the acoustic descriptors of every clip, indexed by clip_id."""
    return read_table(ACOUSTICS, work.root / "data" / "acoustics.parquet").set_index("clip_id")


def manifest_of(root: Path) -> dict[str, Any]:
    """Return data/activations/manifest.json: how the clips were generated and what was kept of them."""
    return read_metrics(root / "data" / "activations" / "manifest.json")


def need_steps(root: Path, advice: str = KEEP_STEPS) -> tuple[int, ...]:
    """Return the decoder step of every stored step state, ascending; the same of every clip.

    Args:
        root: of the workspace.
        advice: the next step that an error names.

    Raises:
        StepsNotStored: the clips were generated with generate.pooled_only, which stores no steps.
    """
    manifest = manifest_of(root)
    capture = manifest["capture"]
    if capture["pooled_only"]:
        rule = "be false to read the states of single steps"
        raise StepsNotStored(must("generate.pooled_only", rule, True, next_step=advice))
    return stored_steps(manifest["n_steps"], capture["step_stride"], capture["windows"])


def by_clip(clips: pd.DataFrame, read: Callable[[int], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the tensors of all shards, one row per clip in the order of `clips`."""
    parts: dict[str, list[np.ndarray]] = {}
    order = []
    for shard, group in clips.groupby("shard", sort=True):
        tensors = read(int(str(shard)))
        rows = group["row"].to_numpy()
        for name, tensor in tensors.items():
            if rows.max() >= len(tensor):
                got = f"{len(tensor)} clips, row {rows.max()} is asked for"
                raise ContractError(must(f"shard {shard}, {name}", "hold every clip", got, next_step=REMAKE))
            parts.setdefault(name, []).append(tensor[rows])
        order.append(group.index.to_numpy())
    places = np.argsort(clips.index.get_indexer(np.concatenate(order)))
    return {name: np.concatenate(part)[places] for name, part in parts.items()}


def tensors_of(
    work: Workspace, clips: pd.DataFrame, folder: str, kind: str, keys: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return tensors of the shards `data/<folder>/<kind>-*.safetensors`, one row per clip of `clips`.

    Raises:
        StepsNotStored: step states are asked for and none are stored, see `need_steps`.
    """
    if (folder, kind) == ("activations", "shard"):
        need_steps(work.root)
    place = work.root / "data" / folder
    return by_clip(clips, lambda shard: read_shard(place / shard_name(kind, shard), keys))


def wording_labels(design: Design) -> np.ndarray:
    """Return the emotion of every wording, (wording,).

    Raises:
        ContractError: an emotion has a single wording, so that nothing varies within it.
    """
    labels = design.unit_labels("wording")
    counts = np.bincount(labels, minlength=design.n_classes)
    if counts.min() < 2:
        name = design.emotions[int(counts.argmin())]
        advice = "Raise prompts.n_per_emotion: prompts that share their words are one unit here"
        raise ContractError(must(f"emotion '{name}'", "have at least 2 wordings", 1, next_step=advice))
    return labels


def wording_resamples(design: Design, n_bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each wording occurs in each resample, (boot, wording)."""
    _, first = np.unique(design.members("wording"), return_index=True)
    return resamples(design, "wording", n_bootstrap, rng)[:, first]
