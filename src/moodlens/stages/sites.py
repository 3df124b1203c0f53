"""The sites that `signal` and `probe` read: stored files in, Gram matrices over the emotional prompts out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.contracts.tables import ACOUSTICS, CLIPS, NEUTRAL, PROMPTS
from moodlens.contracts.tensors import shard_name
from moodlens.probes.readings import token_histograms
from moodlens.stats.design import Design, design_of
from moodlens.stats.gram import SiteGram, site_gram, standardised
from moodlens.store.shards import read_shard, shard_names
from moodlens.store.tables import read_table

TWIN = "twin/"
REMAKE = "Run `dvc repro` to make the clips again"


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


def embedding(work: Workspace, encoder: str) -> SiteGram:
    """Return the site of one pooled embedding; bag of words with every word at variance 1.

    Raw counts let words that bear no emotion but are frequent own the distances; standardised, the bag of
    words is the stronger baseline.
    """
    path = work.root / "data" / "embeddings" / "embeddings.safetensors"
    rows = read_shard(path, [encoder])[encoder]
    if len(rows) != work.n_table:
        rule = f"have one row for each of the {work.n_table} prompts"
        raise ContractError(must(f"embedding {encoder}", rule, len(rows), next_step="Run `dvc repro embed`"))
    rows = rows[work.rows].astype(np.float64)
    return site_gram(encoder, standardised(rows) if encoder == "bow" else rows, np.arange(len(rows)))


def layers(work: Workspace, twin: bool) -> list[SiteGram]:
    """Return one site per hookpoint and half, means over steps; of the model or its random twin."""
    clips = _clips(work)
    folder = work.root / "data" / "activations"
    first = folder / shard_name("summary", int(clips["shard"].iloc[0]))
    prefix, end = TWIN if twin else "", "/mean"
    keys = [key for key in shard_names(first) if key.endswith(end) and key.startswith(TWIN) == twin]
    keys.sort(key=lambda key: place_of(key.removeprefix(prefix).removesuffix(end)))
    if not keys:
        got = "no twin/<hookpoint>/<half>/mean" if twin else "no <hookpoint>/<half>/mean"
        raise ContractError(must(first.name, "hold summaries of layers", got, next_step=REMAKE))
    stacked = _by_clip(clips, lambda shard: read_shard(folder / shard_name("summary", shard), keys))
    prompts = clips["prompt"].to_numpy()
    return [site_gram(key.removeprefix(prefix).removesuffix(end), stacked[key], prompts) for key in keys]


def place_of(site: str) -> tuple[str, int, str]:
    """Return (site, layer, half) of a hookpoint and half, the order of the sweep.

    >>> place_of("residual.3/cond")
    ('residual', 3, 'cond')
    """
    hookpoint, half = site.split("/")
    name, layer = hookpoint.rsplit(".", 1)
    return name, int(layer), half


def acoustics(work: Workspace) -> SiteGram:
    """Return the acoustic descriptors, each at variance 1."""
    clips = _clips(work)
    table = _acoustics(work).loc[clips["clip_id"]]
    return site_gram("acoustics", standardised(table.to_numpy(dtype=np.float64)), clips["prompt"].to_numpy())


def tempos(work: Workspace) -> tuple[np.ndarray, np.ndarray]:
    """Return the tempo of every clip in BPM and its emotion's index."""
    clips = _clips(work)
    tempo = _acoustics(work).loc[clips["clip_id"], "tempo_bpm"].to_numpy(dtype=np.float64)
    return tempo, work.design.labels[clips["prompt"].to_numpy()]


def tokens(work: Workspace) -> SiteGram:
    """Return the audio-token histograms."""
    clips = _clips(work)
    folder = work.root / "data" / "codes"
    codes = _by_clip(clips, lambda shard: read_shard(folder / shard_name("shard", shard), ["codes"]))["codes"]
    # Tokens that never occur add nothing to a Gram matrix.
    return site_gram("tokens", token_histograms(codes, int(codes.max()) + 1), clips["prompt"].to_numpy())


def _clips(work: Workspace) -> pd.DataFrame:
    """Return the clips of emotional prompts, with the index of each one's prompt."""
    table = read_table(CLIPS, work.root / "data" / "clips.parquet")
    table = table.assign(prompt=work.index_of(table["prompt_id"].tolist()))
    table = table.loc[table["prompt"] >= 0]
    missing = np.setdiff1d(np.arange(work.design.n_prompts), table["prompt"])
    if missing.size:
        prompt_id = work.design.prompt_ids[missing[0]]
        raise ContractError(must(f"prompt {prompt_id}", "have clips", "none", next_step=REMAKE))
    return table


def _acoustics(work: Workspace) -> pd.DataFrame:
    return read_table(ACOUSTICS, work.root / "data" / "acoustics.parquet").set_index("clip_id")


def _by_clip(clips: pd.DataFrame, read: Callable[[int], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
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
