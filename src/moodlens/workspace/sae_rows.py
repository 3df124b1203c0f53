"""The rows that SAEs are trained on and read with: text tokens, pooled texts, steps of a decoder layer.

One dataset, `data/sae/`: the table of texts with their split (`texts.csv`), the text encoder's states of the
model and its untrained twin (`texts.safetensors`), and the twin's states at the decoder layers asked for
(`twin-<shard>.safetensors`, same clips, own text). The model's own layer states are those of `generate`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, UsageError, must
from moodlens.capture.recorders import complete_places
from moodlens.contracts.tables import NEUTRAL, TEXTS
from moodlens.contracts.tensors import shard_name
from moodlens.params.pipeline import CAPTURE_SITES
from moodlens.sae.mixing import RowSource
from moodlens.store.shards import read_shard, shard_metadata, shard_names
from moodlens.store.tables import read_table
from moodlens.workspace.design import Workspace, clip_table, need_steps

TEXT_SITES = ("text", "text_pooled")
FOLDER = "sae"
TEXT_ONLY = f"Set sae.sites to text sites ({', '.join(TEXT_SITES)}) or generate.pooled_only to false"


@dataclass(frozen=True)
class Block:
    """Some rows of a site, in a fixed order, and where each comes from."""

    values: np.ndarray  # (row, d_in)
    texts: np.ndarray  # (row,) index into the site's table of texts
    clips: np.ndarray  # (row,) index into the site's table of clips; -1 for text
    places: np.ndarray  # (row,) token of all tokens, or step of its clip


@dataclass(frozen=True)
class SiteRows:
    """One site of the model, or the same site of its untrained twin."""

    site: str
    texts: pd.DataFrame  # rows of contracts.tables.TEXTS that this site has rows of
    clips: pd.DataFrame | None  # of a decoder layer, in the order of `Block.clips`
    blocks: Callable[[], Iterator[Block]]
    tokens: tuple[str, ...]  # of every text row; empty for a decoder layer

    def source(self, *splits: str) -> RowSource:
        """Return the rows of some splits as SAE training reads them."""
        wanted = self.texts["split"].isin(splits).to_numpy()
        return lambda: (block.values[wanted[block.texts]] for block in self.blocks())


def layer_of(site: str) -> tuple[str, int, str]:
    """Return (capture site, layer, half) of a decoder layer named in sae.sites.

    >>> layer_of("residual.3"), layer_of("mlp.0/uncond")
    (('residual', 3, 'cond'), ('mlp', 0, 'uncond'))

    Raises:
        UsageError: it names neither a text site nor a layer.
    """
    place, _, half = site.partition("/")
    name, _, layer = place.rpartition(".")
    if name not in CAPTURE_SITES or not layer.isdigit() or half not in ("", "cond", "uncond"):
        rule = f"hold {', '.join(TEXT_SITES)} or <site>.<layer> with a site of {', '.join(CAPTURE_SITES)}"
        raise UsageError(
            must("sae.sites", rule, site, where="params.yaml", next_step="Write for example residual.3")
        )
    return name, int(layer), half or "cond"


def tensor_of(site: str) -> str:
    """Return the name of a layer's tensor in an activation shard.

    >>> tensor_of("residual.3")
    'residual.3/cond'
    """
    name, layer, half = layer_of(site)
    return f"{name}.{layer}/{half}"


def open_rows(work: Workspace, site: str, twin: bool = False) -> SiteRows:
    """Return the rows of a site from data/sae, data/activations and data/clips.parquet.

    Raises:
        UsageError: the site is unknown, or a layer of clips generated with generate.pooled_only.
        ContractError: a file is absent or damaged.
    """
    texts = read_table(TEXTS, work.root / "data" / FOLDER / "texts.csv")
    if site in TEXT_SITES:
        return _text_rows(work.root, site, texts, twin)
    key = tensor_of(site)
    clips = clip_table(work).reset_index(drop=True)
    played: Any = texts[texts["text_id"].isin(clips["prompt_id"])].reset_index(drop=True)
    index = {text_id: i for i, text_id in enumerate(played["text_id"])}
    of_clip = np.array([index[prompt_id] for prompt_id in clips["prompt_id"]])
    folder, kind = (FOLDER, "twin") if twin else ("activations", "shard")
    stored = need_steps(work.root, TEXT_ONLY)

    def blocks() -> Iterator[Block]:
        for shard, group in clips.groupby("shard", sort=True):
            path = work.root / "data" / folder / shard_name(kind, int(str(shard)))
            states = read_shard(path, [key])[key][group["row"].to_numpy()]
            n_steps, n_frames = (int(group[name].iloc[0]) for name in ("n_steps", "n_frames"))
            places = complete_places(stored, n_steps, n_steps - n_frames + 1)
            kept = np.array(stored[places])
            # the twin's file holds every step: it is read at the steps that the model's states are stored at
            states = states[:, kept if twin else places]
            n_clips, n_kept, width = states.shape
            order = np.repeat(group.index.to_numpy(), n_kept)
            steps = np.tile(kept, n_clips)
            yield Block(states.reshape(-1, width), of_clip[order], order, steps)

    return SiteRows(site, played, clips, blocks, ())


def _text_rows(root: Path, site: str, texts: pd.DataFrame, twin: bool) -> SiteRows:
    path = root / "data" / FOLDER / "texts.safetensors"
    name = "twin_tokens" if twin else "tokens"
    about = shard_metadata(path)
    counts = np.array(about["n_tokens"])
    if len(counts) != len(texts):
        got = f"{len(counts)} texts, {len(texts)} in texts.csv"
        raise ContractError(must(path.name, "hold every text", got, next_step="Run `dvc repro sae`"))
    owner = np.repeat(np.arange(len(texts)), counts)

    def blocks() -> Iterator[Block]:
        tokens = read_shard(path, [name])[name]
        if site == "text":
            yield Block(tokens, owner, np.full(len(tokens), -1), np.arange(len(tokens)))
            return
        sums = np.zeros((len(texts), tokens.shape[1]), dtype=np.float64)
        np.add.at(sums, owner, tokens)
        pooled = (sums / counts[:, None]).astype(np.float32)
        every = np.arange(len(texts))
        yield Block(pooled, every, np.full(len(texts), -1), every)

    pieces = tuple(about["tokens"]) if site == "text" else tuple(texts["text"])
    return SiteRows(site, texts, None, blocks, pieces)


def require_captured(root: Path, sites: Sequence[str]) -> None:
    """Refuse sites that are unknown or that `generate` did not record.

    Raises:
        UsageError: names the site and what was recorded, or generate.pooled_only, which records no layer.
    """
    layers = [site for site in sites if site not in TEXT_SITES]
    wanted = {site: tensor_of(site) for site in layers}
    if not wanted:
        return
    need_steps(root, TEXT_ONLY)
    recorded = shard_names(root / "data" / "activations" / shard_name("shard", 0))
    for site, key in wanted.items():
        if key not in recorded:
            advice = f"Recorded: {', '.join(recorded)}; set generate.sites and generate.layers for others"
            raise UsageError(
                must(
                    "sae.sites", "hold layers that were recorded", site, where="params.yaml", next_step=advice
                )
            )


def felt_texts(rows: SiteRows) -> np.ndarray:
    """Return the indices of the texts that intend an emotion."""
    return np.flatnonzero((rows.texts["emotion"] != NEUTRAL).to_numpy())
