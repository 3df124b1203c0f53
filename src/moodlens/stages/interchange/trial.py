"""One task of the test: pairs of prompts that play freely with states exchanged at one frozen place."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from moodlens.audio.judge import heard
from moodlens.contracts.backend import Capture, ClipRequest, MusicBackend
from moodlens.forks.cells import Row
from moodlens.stages.interchange.search import FOLDER
from moodlens.store.receipts import write_receipt
from moodlens.use.plays import Frozen, Play, about, branches
from moodlens.workspace.model_tasks import ModelTask


@dataclass(frozen=True, kw_only=True)
class TrialTask(ModelTask):
    """The plays of some rows."""

    folder: ClassVar[str] = FOLDER

    rows: tuple[Row, ...]
    frozen: tuple[Frozen, ...]  # per row: what the half without its unit fixed
    other_keys: tuple[int, ...]  # per row: noise of the clip whose tokens arm `seed` takes
    wanted: tuple[tuple[Play, ...], ...]  # per row
    judged_s: float


def run_trial(task: TrialTask) -> None:
    """Let every row play with every intervention, describe how the end sounds, and write the receipt."""
    backend = task.backend()
    stems, made = branches(task.rows, task.frozen, other_clips(task, backend), task.wanted)
    forked = backend.fork(stems, made, task.sampling)
    sounds = heard(backend.decode, forked.codes, backend.info.sample_rate_hz, task.judged_s)
    played = [
        about(row, one.place, play)
        for row, one, own in zip(task.rows, task.frozen, task.wanted, strict=True)
        for play in own
    ]
    rows = [
        {**what, "nats_per_token": float(nats), **asdict(sound)}
        for what, nats, sound in zip(played, forked.nats_per_token, sounds, strict=True)
    ]
    write_receipt(task.receipt, task.fingerprint, task.data, [], {"plays": rows})


def other_clips(task: TrialTask, backend: MusicBackend) -> np.ndarray:
    """Return tokens of clips of each row's first text with another seed, (row, codebook, frame)."""
    requests = [
        ClipRequest(f"{row.slot.slot_id}-other", row.slot.slot_id, row.slot.one, key)
        for row, key in zip(task.rows, task.other_keys, strict=True)
    ]
    return backend.generate(requests, task.sampling, Capture(sites=(), keep_steps=False)).codes
