"""The rows that SAEs are trained on and analysed with: text tokens, pooled texts, steps of decoder layers.

They come from one dataset, `data/sae/`: the table of texts with their split (`texts.csv`), the text encoder's
states of the model and its untrained twin (`texts.safetensors`), and the twin's states at the requested
decoder layers (`twin-<shard>.safetensors`, same clips, own text). The model's own layer states are those that
`generate` stored.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, UsageError, must
from moodlens.capture.recorders import complete_indices, complete_steps
from moodlens.contracts.backend import Capture
from moodlens.contracts.tables import NEUTRAL, TEXTS
from moodlens.params.choices import CAPTURE_SITES
from moodlens.sae.mixing import RowSource
from moodlens.store.shards import read_shard, shard_metadata, shard_names
from moodlens.store.tables import read_table
from moodlens.workspace.design import Workspace, clip_table, need_steps
from moodlens.workspace.shards import by_shard, shard_path

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend

TEXT_SITES = ("text", "text_pooled")
FOLDER = "sae"
TEXT_ONLY = f"Set sae.sites to text sites ({', '.join(TEXT_SITES)}) or generate.pooled_only to false"


@dataclass(frozen=True)
class Block:
    """Some rows of a site in a fixed order, and the origin of each row."""

    values: np.ndarray  # (row, d_in)
    texts: np.ndarray  # (row,) index into the site's table of texts
    clips: np.ndarray  # (row,) index into the site's table of clips; -1 for text
    positions: np.ndarray  # (row,) for text: number of the row; for a layer: decoder step in its clip


@dataclass(frozen=True)
class SiteRows:
    """One site of the model, or the same site of its untrained twin."""

    site: str
    texts: pd.DataFrame  # rows of contracts.tables.TEXTS that this site has rows of
    clips: pd.DataFrame | None  # of a decoder layer, in the order of `Block.clips`
    blocks: Callable[[], Iterator[Block]]
    tokens: tuple[str, ...]  # of every text row; empty for a decoder layer

    def source(self, *splits: str) -> RowSource:
        """Return the rows of some splits in the form that SAE training reads."""
        selected = self.texts["split"].isin(splits).to_numpy()
        return lambda: (block.values[selected[block.texts]] for block in self.blocks())

    def by_text(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (values, index of each row's text), block by block."""
        return by_text(self.blocks())


def by_text(blocks: Iterator[Block]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (values, index of each row's text) of each block."""
    return ((block.values, block.texts) for block in blocks)


def layer_of(site: str) -> tuple[str, int, str]:
    """Return (capture site, layer, half) of a decoder layer named in sae.sites.

    >>> layer_of("residual.3"), layer_of("mlp.0/uncond")
    (('residual', 3, 'cond'), ('mlp', 0, 'uncond'))

    Raises:
        UsageError: it names neither a text site nor a layer.
    """
    layer_name, _, half = site.partition("/")
    name, _, layer = layer_name.rpartition(".")
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
        UsageError: the site is unknown, or it is a layer and the clips were generated with
            generate.pooled_only.
        ContractError: a file is absent or damaged.
    """
    texts = read_table(TEXTS, work.root / "data" / FOLDER / "texts.csv")
    if site in TEXT_SITES:
        return _text_rows(work.root, site, texts, twin)
    key = tensor_of(site)
    clips = clip_table(work).reset_index(drop=True)
    with_clips: Any = texts[texts["text_id"].isin(clips["prompt_id"])].reset_index(drop=True)
    index = {text_id: i for i, text_id in enumerate(with_clips["text_id"])}
    text_of_clip = np.array([index[prompt_id] for prompt_id in clips["prompt_id"]])
    folder, kind = (FOLDER, "twin") if twin else ("activations", "shard")
    stored = need_steps(work.root, TEXT_ONLY)

    def blocks() -> Iterator[Block]:
        for part in by_shard(work.root, clips, folder, kind, [key]):
            n_steps, n_frames = (int(part.clips[name].iloc[0]) for name in ("n_steps", "n_frames"))
            complete = complete_indices(stored, n_steps, n_steps - n_frames + 1)
            steps = np.array(stored[complete])
            # the twin's file holds every step; only the steps stored for the model are taken from it
            states = part.tensors[key][:, steps if twin else complete]
            yield _layer_block(states, part.positions, text_of_clip[part.positions], steps)

    return SiteRows(site, with_clips, clips, blocks, ())


def _layer_block(states: np.ndarray, clips: np.ndarray, texts: np.ndarray, steps: np.ndarray) -> Block:
    """Return states (clip, step, d_in) as rows, given each clip's index and text, and each step."""
    n_clips, n_steps, width = states.shape
    return Block(
        values=states.reshape(-1, width),
        texts=np.repeat(texts, n_steps),
        clips=np.repeat(clips, n_steps),
        positions=np.tile(steps, n_clips),
    )


def null_text_blocks(work: Workspace, rows: SiteRows, backend: "MusicBackend") -> Iterator[Block]:
    """Yield the states of the generated tokens under null text at the layer of `rows`, shard by shard.

    Null text carries no emotion: what a latent shows of emotion here comes from the music alone.
    """
    assert rows.clips is not None, "a decoder layer has clips"
    name, layer, _ = layer_of(rows.site)
    capture = Capture((name,), (layer,), "cond")
    index: Any = {text_id: i for i, text_id in enumerate(rows.texts["text_id"])}
    for part in by_shard(work.root, rows.clips, "codes", "shard", ["codes"]):
        codes = part.tensors["codes"]
        states = backend.teacher_force(codes, [None] * len(codes), capture).values[f"{name}.{layer}/cond"]
        complete = complete_steps(states.shape[1], backend.info.n_delays)
        texts = part.clips["prompt_id"].map(index).to_numpy()
        steps = np.arange(complete.start, complete.stop)
        yield _layer_block(states[:, complete], part.positions, texts, steps)


def _text_rows(root: Path, site: str, texts: pd.DataFrame, twin: bool) -> SiteRows:
    path = root / "data" / FOLDER / "texts.safetensors"
    name = "twin_tokens" if twin else "tokens"
    about = shard_metadata(path)
    counts = np.array(about["n_tokens"])
    if len(counts) != len(texts):
        got = f"{len(counts)} texts, {len(texts)} in texts.csv"
        raise ContractError(must(path.name, "hold every text", got, next_step="Run `dvc repro sae`"))
    text_of_token = np.repeat(np.arange(len(texts)), counts)

    def blocks() -> Iterator[Block]:
        tokens = read_shard(path, [name])[name]
        if site == "text":
            yield Block(tokens, text_of_token, np.full(len(tokens), -1), np.arange(len(tokens)))
            return
        sums = np.zeros((len(texts), tokens.shape[1]), dtype=np.float64)
        np.add.at(sums, text_of_token, tokens)
        pooled = (sums / counts[:, None]).astype(np.float32)
        numbers = np.arange(len(texts))
        yield Block(pooled, numbers, np.full(len(texts), -1), numbers)

    tokens = tuple(about["tokens"]) if site == "text" else tuple(texts["text"])
    return SiteRows(site, texts, None, blocks, tokens)


def require_captured(root: Path, sites: Sequence[str]) -> None:
    """Refuse sites that are unknown or that `generate` did not record.

    Raises:
        UsageError: names the site and what was recorded, or generate.pooled_only, which records no layer.
    """
    layers = [site for site in sites if site not in TEXT_SITES]
    keys = {site: tensor_of(site) for site in layers}
    if not keys:
        return
    need_steps(root, TEXT_ONLY)
    recorded = shard_names(shard_path(root, "activations", "shard", 0))
    for site, key in keys.items():
        if key not in recorded:
            advice = f"Recorded: {', '.join(recorded)}; set generate.sites and generate.layers for others"
            raise UsageError(
                must(
                    "sae.sites", "hold layers that were recorded", site, where="params.yaml", next_step=advice
                )
            )


def emotional_texts(rows: SiteRows) -> np.ndarray:
    """Return the indices of the texts that intend an emotion."""
    return np.flatnonzero((rows.texts["emotion"] != NEUTRAL).to_numpy())
