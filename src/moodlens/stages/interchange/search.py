"""One task of the search: clips of some pairs of prompts, read again with states exchanged at every place."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from moodlens.backends import catalog
from moodlens.backends.recorded import EARLIER
from moodlens.contracts.backend import Capture, ClipRequest, MusicBackend, Sampling
from moodlens.forks.cells import DONOR, ONE, OTHER, Row
from moodlens.params.pipeline import Model
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import write_shard
from moodlens.use.directions import displacement
from moodlens.use.places import Place
from moodlens.use.readings import CLIPS, readings, scores

FOLDER = ".interchange"
"""Folder of receipts and displacements in data/. It is no output of DVC, so DVC keeps it between runs."""
TEXTS = (ONE, OTHER, DONOR)
"""Texts under which the first clip is read for displacements."""


@dataclass(frozen=True)
class SearchTask:
    """Everything a worker needs for the search in some rows; picklable."""

    number: int
    rows: tuple[Row, ...]
    places: tuple[Place, ...]
    sampling: Sampling
    root: Path
    model: Model
    weights_sha256: str
    block_clips: int
    threads: int
    fingerprint: str

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def receipt(self) -> Path:
        return self.data / FOLDER / f"receipt-{self.number:04d}.json"

    @property
    def displaced(self) -> Path:
        """Displacements: `<hookpoint>/gap`, `<hookpoint>/within` (row, width), `<hookpoint>/norm` (row,)."""
        return self.data / FOLDER / f"displaced-{self.number:04d}.safetensors"


def run_search(task: SearchTask) -> None:
    """Generate the clips of every row, score every place, and write displacements and the receipt."""
    import torch

    torch.set_num_threads(task.threads)
    backend = loaded(task.model, task.root, task.weights_sha256, task.block_clips)
    codes = clips_of(backend, task.rows, CLIPS, task.sampling)
    nats = backend.score(readings(task.rows, codes, task.places))
    table = scores(task.rows, task.places, nats)
    tensors = displacements(backend, task, codes[ONE])
    write_shard(task.displaced, tensors, {"rows": [row_key(row) for row in task.rows]})
    rows: Any = table.to_dict("records")
    write_receipt(task.receipt, task.fingerprint, task.data, [task.displaced], {"scores": rows})


def row_key(row: Row) -> str:
    """Return the name of a row in the files of displacements."""
    return f"{row.slot.slot_id}/s{row.seed}"


def clips_of(
    backend: MusicBackend, rows: tuple[Row, ...], sides: tuple[str, ...], sampling: Sampling
) -> Mapping[str, np.ndarray]:
    """Return side -> tokens of the clips of all rows under the text of that side."""
    requests = [
        ClipRequest(f"{row_key(row)}-{side}", row.slot.slot_id, row.text(side), row.seed_key)
        for side in sides
        for row in rows
    ]
    made = backend.generate(requests, sampling, Capture(sites=(), keep_steps=False)).codes
    return dict(zip(sides, made.reshape(len(sides), len(rows), *made.shape[1:]), strict=True))


def displacements(backend: MusicBackend, task: SearchTask, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Return how far the text moves the states of each row's first clip, at every hookpoint of the places."""
    hookpoints = list(dict.fromkeys(place.hookpoint for place in task.places))
    capture = Capture(tuple(dict.fromkeys(name.split(".")[0] for name in hookpoints)))
    found: dict[str, list[np.ndarray]] = {}
    for number, row in enumerate(task.rows):
        tokens = np.repeat(codes[number : number + 1], len(TEXTS), axis=0)
        states = backend.teacher_force(tokens, [row.text(side) for side in TEXTS], capture).values
        for name in hookpoints:
            moved = displacement(*states[f"{name}/cond"])
            for part in ("gap", "within", "norm"):
                found.setdefault(f"{name}/{part}", []).append(np.asarray(getattr(moved, part), np.float32))
    return {name: np.stack(values) for name, values in found.items()}


@lru_cache(maxsize=1)
def loaded(model: Model, root: Path, weights_sha256: str, block_clips: int) -> MusicBackend:
    """Return the model of a task, loaded once per worker."""
    return catalog.load(model, root, block_clips, recorded=weights_sha256, made=EARLIER)
