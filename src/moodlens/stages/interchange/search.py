"""One task of the search: clips of some pairs of prompts, read again with states exchanged at every place."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from moodlens.contracts.backend import Capture, ClipRequest, MusicBackend, Sampling
from moodlens.forks.cells import DONOR, ONE, OTHER, Row
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import write_shard
from moodlens.use.directions import displacement
from moodlens.use.places import Place
from moodlens.use.readings import CLIPS, readings, scores
from moodlens.workspace.model_tasks import ModelTask

FOLDER = ".interchange"
"""Folder of receipts and displacements in data/. It is no output of DVC, so DVC keeps it between runs."""
TEXTS = (ONE, OTHER, DONOR)
"""Texts under which the first clip is read for displacements."""


@dataclass(frozen=True, kw_only=True)
class SearchTask(ModelTask):
    """The search in some rows."""

    folder: ClassVar[str] = FOLDER

    rows: tuple[Row, ...]
    places: tuple[Place, ...]

    @property
    def displaced(self) -> Path:
        """Displacements: `<hookpoint>/gap`, `<hookpoint>/within` (row, width), `<hookpoint>/norm` (row,)."""
        return self.data / FOLDER / f"displaced-{self.number:04d}.safetensors"


def run_search(task: SearchTask) -> None:
    """Generate the clips of every row, score every place, and write displacements and the receipt."""
    backend = task.backend()
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
