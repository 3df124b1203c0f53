"""One shard of stage `reencode`: its tokens read by three models under three texts, after a self-test."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moodlens.backends import catalog
from moodlens.base.errors import ContractError, must
from moodlens.capture.running import Running
from moodlens.codes.history import vector_history
from moodlens.contracts.backend import Capture, States
from moodlens.contracts.params import Model
from moodlens.contracts.tensors import CODEC_HISTORY, CONDITIONS, MODELS, shard_name
from moodlens.stages.reencode_selftest import self_test
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import read_shard, write_shard

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend

REMAKE = "Run `dvc repro generate` to make the clips again"


@dataclass(frozen=True)
class ForcedClip:
    """One clip to read again: its own text and the text it gets from a prompt of another emotion."""

    clip_id: str
    text: str
    swapped_text: str


@dataclass(frozen=True)
class ReencodeTask:
    """Everything a worker needs to re-encode one shard; picklable."""

    shard: int
    clips: tuple[ForcedClip, ...]
    n_frames: int
    root: Path
    model: Model
    weights_sha256: str
    capture: Capture
    steps: tuple[int, ...]
    generated: Capture  # which steps generation stored, if any
    twin_seed: int
    tolerance: float
    threads: int
    fingerprint: str

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def receipt(self) -> Path:
        return self.data / "reencoded" / f"receipt-{self.shard:04d}.json"

    @property
    def summary(self) -> Path:
        return self.data / "reencoded" / shard_name("summary", self.shard)


def reencode_shard(task: ReencodeTask) -> None:
    """Test and re-encode one shard, clip by clip, and write its file; the receipt comes last.

    Raises:
        ContractError: the shard of codes is damaged or short, or a self-test fails.
    """
    import torch

    torch.set_num_threads(task.threads)
    models = _loaded(task.model, task.root, task.weights_sha256, task.twin_seed)
    codes = read_codes(task)
    tested = self_test(models["model"], codes, task)
    info = models["model"].info
    parts: dict[str, list[np.ndarray]] = {}
    rows: list[dict[str, Any]] = []
    for row, clip in enumerate(task.clips):
        own = codes[row : row + 1]
        vectors = models["model"].token_vectors(own)
        parts.setdefault(CODEC_HISTORY, []).append(vector_history(vectors, task.steps, info.audio_channels))
        for name, condition, states in readings(models, own, clip, task.capture):
            for key, values in states.values.items():
                hookpoint = key.split("/")[0]
                kept, figures = _kept(values, info.n_delays, task.steps)
                for part, tensor in kept.items():
                    parts.setdefault(f"{name}/{condition}/{hookpoint}/{part}", []).append(tensor)
                place = {"clip_id": clip.clip_id, "model": name, "condition": condition}
                place |= {"hookpoint": hookpoint, "shard": task.shard, "row": row}
                place |= {"n_steps": values.shape[1], "width": values.shape[2]}
                place |= {k: float(figures[k][0]) for k in ("finite_fraction", "norm_mean", "step_change")}
                rows.append({"row_id": f"{clip.clip_id}/{name}/{condition}/{hookpoint}", **place})
    about = {"clips": [clip.clip_id for clip in task.clips], "steps": list(task.steps)}
    about["models"] = {name: backend.info.weights_sha256 for name, backend in models.items()}
    write_shard(task.summary, {key: np.concatenate(found) for key, found in parts.items()}, about)
    contributed = {"reencoded": rows, "selftests": [{"shard": task.shard, **tested}]}
    write_receipt(task.receipt, task.fingerprint, task.data, [task.summary], contributed)


def readings(
    models: dict[str, "MusicBackend"], codes: np.ndarray, clip: ForcedClip, capture: Capture
) -> Iterator[tuple[str, str, States]]:
    """Yield (model, condition, states) of one clip; its own text and null text are halves of one pass."""
    both, one = replace(capture, half="both"), replace(capture, half="cond")
    own, null, swapped = CONDITIONS
    for name, backend in models.items():
        made = backend.teacher_force(codes, [clip.text], both)
        for condition, half in ((own, "cond"), (null, "uncond")):
            found = {key: states for key, states in made.values.items() if key.endswith(f"/{half}")}
            yield name, condition, States(found)
        yield name, swapped, backend.teacher_force(codes, [clip.swapped_text], one)


def read_codes(task: ReencodeTask) -> np.ndarray:
    """Return the tokens of the shard, (clip, codebook, frame).

    Raises:
        ContractError: the file is damaged, or holds fewer clips or frames than the table of clips says.
    """
    path = task.data / "codes" / shard_name("shard", task.shard)
    codes = read_shard(path, ["codes"])["codes"]
    if codes.ndim != 3 or len(codes) != len(task.clips) or codes.shape[2] != task.n_frames:
        rule = f"hold {len(task.clips)} clips of {task.n_frames} frames"
        raise ContractError(must(f"shard {path}", rule, codes.shape, next_step=REMAKE))
    return codes


@lru_cache(maxsize=1)
def _loaded(model: Model, root: Path, _weights_sha256: str, seed: int) -> dict[str, "MusicBackend"]:
    """Return who reads the tokens, in the order of `MODELS`; loaded once per process."""
    backend = catalog.load(model, root)
    readers = (backend, backend.random_twin(seed), backend.random_decoder(seed))
    return dict(zip(MODELS, readers, strict=True))


def _kept(
    values: np.ndarray, n_delays: int, steps: tuple[int, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the tensors that are stored of one pass, and its quality figures per clip."""
    stored = _half_precision(values[:, list(steps)])
    running = Running(values.shape, n_delays)
    running.add(values, stored)
    summary = running.summary()
    kept = {name: _half_precision(summary[name]) for name in ("mean", "early", "late")}
    return {**kept, "var": summary["var"], "steps": stored}, running.figures()


def _half_precision(states: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinity shows in finite_fraction, where `check` stops it
        return states.astype(np.float16)
