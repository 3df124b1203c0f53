"""One task of stage `forks`: pairs of prompts with their seeds, all their continuations, and a receipt."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from moodlens.audio.judge import heard
from moodlens.contracts.backend import Capture, ClipRequest, MusicBackend, Sampling
from moodlens.forks.cells import ALL, PREFIXES, SIDES, Cell, Row, plan
from moodlens.store.receipts import write_receipt
from moodlens.workspace.model_tasks import ModelTask

RECEIPTS = ".forks"
"""Folder of the receipts in data/. It is no output of DVC, so that DVC keeps it when a stage is run again."""


@dataclass(frozen=True, kw_only=True)
class ForkTask(ModelTask):
    """The continuations of some rows."""

    folder: ClassVar[str] = RECEIPTS

    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    whole: bool  # whether the whole clips are described too
    judged_s: float


def run_forks(task: ForkTask) -> None:
    """Generate the clips of every row, fork them, describe how their end sounds, and write the receipt."""
    backend = task.backend()
    requests = [
        ClipRequest(f"{row.slot.slot_id}-{row.seed}-{name}", row.slot.slot_id, row.text(name), row.seed_key)
        for name in PREFIXES
        for row in task.rows
    ]
    whole = backend.generate(requests, task.sampling, Capture(sites=(), keep_steps=False)).codes
    by_prefix = whole.reshape(len(PREFIXES), len(task.rows), *whole.shape[1:])
    codes: dict[str, np.ndarray] = dict(zip(PREFIXES, by_prefix, strict=True))
    stems, branches = plan(task.rows, codes, task.cells)
    forked = backend.fork(stems, branches, task.sampling)
    rows = []
    for side in SIDES if task.whole else ():
        cell = Cell(ALL, side, 0)
        rows += _described(task, backend, task.rows, [cell] * len(task.rows), codes[side], None)
    owners = [row for row in task.rows for _ in task.cells]
    rows += _described(
        task, backend, owners, list(task.cells) * len(task.rows), forked.codes, forked.nats_per_token
    )
    write_receipt(task.receipt, task.fingerprint, task.data, [], {"forks": rows})


def _described(
    task: ForkTask,
    backend: MusicBackend,
    rows: Sequence[Row],
    cells: Sequence[Cell],
    codes: np.ndarray,
    nats: np.ndarray | None,
) -> list[dict[str, Any]]:
    """Return a table row per continuation: what it is, and how its last seconds sound."""
    sounds = heard(backend.decode, codes, backend.info.sample_rate_hz, task.judged_s)
    return [
        {
            **_about(rows[index], cells[index], task.sampling),
            "nats_per_token": None if nats is None else float(nats[index]),
            **asdict(sound),
        }
        for index, sound in enumerate(sounds)
    ]


def _about(row: Row, cell: Cell, sampling: Sampling) -> Mapping[str, Any]:
    place = place_of(cell)
    name = (
        f"{row.slot.slot_id}/s{row.seed}/g{sampling.guidance_scale:g}/{cell.source}/{cell.side}/{cell.step}"
    )
    return {
        "row_id": f"{name}/{place}" if place else name,
        "slot_id": row.slot.slot_id,
        "pair": " - ".join(row.slot.pair),
        "unit": row.slot.unit,
        "seed": row.seed,
        "guidance_scale": sampling.guidance_scale,
        "source": cell.source,
        "side": cell.side,
        "step": cell.step,
        "place": place,
    }


def place_of(cell: Cell) -> str:
    """Return the name of the part of the cache that a cell exchanges; empty if it is the whole.

    >>> place_of(Cell("memory", "one", 30, layers=(2,))), place_of(Cell("memory", "one", 30))
    ('layer 2', '')
    """
    if cell.layers is not None:
        return f"layer {cell.layers[0]}"
    return f"steps {cell.window[0]}-{cell.window[1]}" if cell.window is not None else ""
