"""Rows of a site read unit by unit and pooled prompt by prompt, in one pass of flat memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.capture.recorders import complete_steps
from moodlens.contracts.backend import Capture
from moodlens.contracts.tensors import shard_name
from moodlens.latents.baselines import Reader
from moodlens.sae.model import Sae
from moodlens.store.shards import read_shard
from moodlens.workspace.design import Workspace
from moodlens.workspace.sae_rows import Block, SiteRows, layer_of

CHUNK_ROWS = 4096


def pooled_by_text(
    blocks: Iterable[Block], readers: Mapping[str, Reader], n_texts: int
) -> dict[str, np.ndarray]:
    """Return reader -> (text, unit), the mean over the rows of each text, float64; zero without rows."""
    sums: dict[str, np.ndarray] = {}
    counts = np.zeros(n_texts)
    for values, texts in _chunks(blocks):
        counts += np.bincount(texts, minlength=n_texts)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(texts)) + 1])
        for name, reader in readers.items():
            units = reader(values)
            if name not in sums:
                sums[name] = np.zeros((n_texts, units.shape[1]))
            np.add.at(sums[name], texts[starts], np.add.reduceat(units, starts, axis=0, dtype=np.float64))
    return {name: total / np.maximum(counts, 1)[:, None] for name, total in sums.items()}


def _chunks(blocks: Iterable[Block]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for block in blocks:
        for start in range(0, len(block.values), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            yield block.values[part].astype(np.float32), block.texts[part]


def latents_reader(sae: Sae) -> Reader:
    """Return the reader of an SAE's latents."""

    def read(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return sae.encode(torch.from_numpy(x)).numpy()

    return read


def error_reader(sae: Sae, mean: np.ndarray) -> Reader:
    """Return the reader of (squared error, squared distance to `mean`) of each row: their ratio is an FVU."""

    def read(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            error = x - sae(torch.from_numpy(x)).numpy()
        return np.stack([np.square(error).sum(axis=1), np.square(x - mean).sum(axis=1)], axis=1)

    return read


def sample_of(rows: SiteRows, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` training rows (or all there are), drawn without replacement, float32."""
    train = np.concatenate(list(rows.source("train")()))
    picks = np.sort(rng.permutation(len(train))[:n])
    return train[picks].astype(np.float32)


def activations_of(
    rows: SiteRows, sae: Sae, latents: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the activations of a few latents at every row, (row, latent), and the row's clip and place."""
    reader = latents_reader(sae)
    values, clips, places = [], [], []
    for block in rows.blocks():
        clips.append(block.clips)
        places.append(block.places)
        for start in range(0, len(block.values), CHUNK_ROWS):
            part = block.values[start : start + CHUNK_ROWS].astype(np.float32)
            values.append(reader(part)[:, list(latents)])
    return np.concatenate(values), np.concatenate(clips), np.concatenate(places)


def null_blocks(work: Workspace, rows: SiteRows, backend: MusicgenBackend) -> Iterator[Block]:
    """Yield the states of the generated tokens under null text at the site of `rows`, shard by shard.

    What a latent still says of emotion here comes from the music alone.
    """
    assert rows.clips is not None, "a decoder layer has clips"
    name, layer, _ = layer_of(rows.site)
    capture = Capture((name,), (layer,), "cond")
    index = {text_id: i for i, text_id in enumerate(rows.texts["text_id"])}
    for shard, group in rows.clips.groupby("shard", sort=True):
        path = work.root / "data" / "codes" / shard_name("shard", int(str(shard)))
        codes = read_shard(path, ["codes"])["codes"][group["row"].to_numpy()]
        states = backend.teacher_force(codes, [None] * len(codes), capture).values[f"{name}.{layer}/cond"]
        whole = complete_steps(states.shape[1], backend.info.n_delays)
        states = states[:, whole]
        n_clips, n_steps, width = states.shape
        clips = np.repeat(group.index.to_numpy(), n_steps)
        texts = np.repeat(group["prompt_id"].map(index).to_numpy(), n_steps)
        steps = np.tile(np.arange(n_steps) + whole.start, n_clips)
        yield Block(states.reshape(-1, width), texts, clips, steps)
