"""One shard of stage `generate`: clips, tokens, states, summaries, audio, and a receipt at the end."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from moodlens.backends import catalog
from moodlens.backends.recorded import EARLIER
from moodlens.base.units import steps_for
from moodlens.capture.recorders import complete_steps
from moodlens.contracts.backend import Capture, ClipRequest, ModelInfo, MusicBackend, Sampling, States
from moodlens.contracts.tensors import CODEC_MEAN, shard_name
from moodlens.params.pipeline import Model
from moodlens.store.audio_files import FULL_SCALE, to_int16, write_flac
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import write_shard


@dataclass(frozen=True)
class Clip:
    """One clip of the plan: the request to the model, and columns of its table row."""

    request: ClipRequest
    emotion: str
    seed: int  # 0..n_seeds-1


@dataclass(frozen=True)
class ShardTask:
    """Everything a worker needs to make one shard; picklable."""

    shard: int
    clips: tuple[Clip, ...]
    root: Path
    model: Model
    weights_sha256: str
    sampling: Sampling
    capture: Capture
    block_clips: int
    twin_seed: int
    threads: int
    fingerprint: str

    @property
    def data(self) -> Path:
        return self.root / "data"

    def path(self, folder: str, kind: str) -> Path:
        return self.data / folder / shard_name(kind, self.shard)

    @property
    def receipt(self) -> Path:
        return self.data / "activations" / f"receipt-{self.shard:04d}.json"

    @property
    def shard_files(self) -> list[Path]:
        """Codes and summaries, then steps and attention where the capture stores them."""
        capture = self.capture
        steps = [self.path("activations", "shard")] if capture.keep_steps else []
        attention = [self.path("activations", "attention")] if capture.attention else []
        return [self.path("codes", "shard"), self.path("activations", "summary"), *steps, *attention]

    @property
    def audio_files(self) -> list[Path]:
        return [self.data / audio_path(clip.request.clip_id) for clip in self.clips]


def audio_path(clip_id: str) -> str:
    """Return the path of a clip's audio, relative to data/."""
    return f"audio/{clip_id}.flac"


def make_shard(task: ShardTask) -> None:
    """Generate the clips of a shard and write its files; the receipt comes last."""
    import torch

    torch.set_num_threads(task.threads)
    backend, twin = _loaded(task.model, task.root, task.weights_sha256, task.block_clips, task.twin_seed)
    made = backend.generate([clip.request for clip in task.clips], task.sampling, task.capture)
    forced = teacher_forced(twin, task, made.codes)
    waveforms = backend.decode(made.codes)
    about = {"clips": [clip.request.clip_id for clip in task.clips], "model": backend.info.weights_sha256}
    means = {f"twin/{key}": mean for key, mean in forced.summaries.items() if key.endswith("/mean")}
    means[CODEC_MEAN] = backend.token_vectors(made.codes).sum(axis=1).mean(axis=1)
    write_shard(task.path("codes", "shard"), {"codes": made.codes}, about)
    write_shard(task.path("activations", "summary"), made.states.summaries | means, about)
    if task.capture.keep_steps:
        write_shard(task.path("activations", "shard"), made.states.values, about)
    if task.capture.attention:
        tensors = attention_tensors(made.states, forced, backend.info.n_delays)
        write_shard(task.path("activations", "attention"), tensors, about)
    for path, waveform in zip(task.audio_files, waveforms, strict=True):
        write_flac(path, waveform, backend.info.sample_rate_hz)
    rows = {
        "clips": _clip_rows(task, waveforms, backend.info),
        "activations": _activation_rows(task, made.states),
    }
    write_receipt(task.receipt, task.fingerprint, task.data, [*task.shard_files, *task.audio_files], rows)


def teacher_forced(twin: MusicBackend, task: ShardTask, codes: np.ndarray) -> States:
    """Return the twin's summaries on the same tokens, and its cross-attention where attention is summarised.

    The null half has no words to attend to. Where only that half is recorded, attention takes its own pass.
    """
    texts = [clip.request.text for clip in task.clips]
    wordings = [clip.request.wording for clip in task.clips]
    watched = tuple(kind for kind in task.capture.attention if kind == "cross")
    pooled = replace(task.capture, keep_steps=False, attention=())
    if task.capture.half != "uncond" or not watched:
        return twin.teacher_force(codes, texts, replace(pooled, attention=watched), wordings=wordings)
    made = twin.teacher_force(codes, texts, pooled)
    made.attention = twin.teacher_force(
        codes, texts, Capture(sites=(), attention=watched), wordings=wordings
    ).attention
    return made


def attention_tensors(states: States, twin: States, n_delays: int) -> dict[str, np.ndarray]:
    """Return the tensors of an attention shard: every step of the model, means of the twin."""
    tensors = {name: values.astype(np.float16) for name, values in states.attention.items() if "/" in name}
    tensors["tokens"] = states.attention["tokens"]
    for name, values in twin.attention.items():
        if "/" in name:
            whole = values[..., complete_steps(values.shape[-1], n_delays)]
            tensors[f"twin/{name}"] = whole.mean(axis=-1, dtype=np.float64).astype(np.float32)
    return tensors


@lru_cache(maxsize=1)
def _loaded(
    model: Model, root: Path, weights_sha256: str, block_clips: int, twin_seed: int
) -> tuple[MusicBackend, MusicBackend]:
    """Return the model and its untrained twin; a process loads them once, and again when weights change."""
    backend = catalog.load(model, root, block_clips, recorded=weights_sha256, made=EARLIER)
    return backend, backend.random_twin(twin_seed)


def _activation_rows(task: ShardTask, states: States) -> list[dict[str, Any]]:
    """Return the rows of the activation table, hookpoint by hookpoint."""
    rows: list[dict[str, Any]] = []
    keys = [name.removesuffix("/absmax") for name in states.figures if name.endswith("/absmax")]
    for key in keys:
        hookpoint, half = key.split("/")
        site, layer = hookpoint.split(".")
        n_steps = states.summaries[f"{key}/norm"].shape[1]
        width = states.summaries[f"{key}/mean"].shape[1]
        figures = {
            name.removeprefix(f"{key}/"): values
            for name, values in states.figures.items()
            if name.startswith(f"{key}/")
        }
        for row, clip in enumerate(task.clips):
            clip_id = clip.request.clip_id
            columns = {"row_id": f"{clip_id}/{key}", "clip_id": clip_id, "hookpoint": hookpoint, "site": site}
            columns |= {"layer": int(layer), "half": half, "shard": task.shard, "row": row}
            measured = {name: float(values[row]) for name, values in figures.items()}
            rows.append({**columns, "n_steps": n_steps, "width": width, **measured})
    return rows


def _clip_rows(task: ShardTask, waveforms: np.ndarray, info: ModelInfo) -> list[dict[str, Any]]:
    rows = []
    n_steps = steps_for(task.sampling.n_frames, info.n_delays)
    for row, (clip, waveform) in enumerate(zip(task.clips, waveforms, strict=True)):
        samples = to_int16(waveform).astype(np.float64) / FULL_SCALE
        rows.append(
            {
                "clip_id": clip.request.clip_id,
                "prompt_id": clip.request.prompt_id,
                "emotion": clip.emotion,
                "seed": clip.seed,
                "shard": task.shard,
                "row": row,
                "n_frames": task.sampling.n_frames,
                "n_steps": n_steps,
                "sample_rate_hz": info.sample_rate_hz,
                "duration_s": waveform.shape[-1] / info.sample_rate_hz,
                "peak": float(np.abs(samples).max()),
                "rms": float(np.sqrt(np.square(samples).mean())),
                "clipped_fraction": float((np.abs(samples) >= 1).mean()),
                "finite_fraction": float(np.isfinite(waveform).mean()),
                "audio_path": audio_path(clip.request.clip_id),
            }
        )
    return rows
