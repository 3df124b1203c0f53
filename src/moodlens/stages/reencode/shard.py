"""One shard of stage `reencode`: self-tests, then its tokens read by three models under three texts.

A self-test that fails stops the stage:

1. Teacher forcing under the clip's own text reproduces the states that were recorded during generation, up to
   reencode.tolerance or, in 16 bits, the accumulated rounding of the sums.
2. Null-text states do not depend on the text that runs beside them, bit for bit.
3. A patch that replaces the output of a layer by itself changes nothing, bit for bit.

The recorder tests in every pass that each hookpoint fires once per step.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moodlens.backends import catalog
from moodlens.backends.recorded import EARLIER
from moodlens.base.errors import ContractError, UsageError, must
from moodlens.capture.recorders import Running
from moodlens.codes.histograms import vector_history
from moodlens.contracts.backend import Capture, States
from moodlens.contracts.interventions import Intervention
from moodlens.contracts.tensors import (
    CODEC_HISTORY,
    CONDITIONS,
    MODELS,
    ROUNDING,
    WHOLE_SITES,
    forced_limit,
    shard_name,
)
from moodlens.params.pipeline import Model
from moodlens.stages.reencode.memory import SHARED, Memories, gather, memory_path
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import read_shard, shard_names, write_shard

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend

REMAKE = "Run `dvc repro generate` to make the clips again"
HALF_ULP = 2.0**-11
"""Largest relative rounding error of float16, in which the states of generation are stored."""
OWN = 4
"""Roundings of its own size by which a value may differ."""
NULL = "null"
"""The condition of `CONDITIONS` under which untrained decoders have a memory of the music alone."""
TINY = 2.0**-25
"""Largest absolute rounding error of float16 below its normal range."""


@dataclass(frozen=True)
class ForcedClip:
    """One clip to re-encode: its own text and the text of a prompt of another emotion."""

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

    @property
    def files(self) -> list[Path]:
        return [self.summary, *(memory_path(self.data, draw, self.shard) for draw in SHARED.values())]


def reencode_shard(task: ReencodeTask) -> None:
    """Test and re-encode one shard, clip by clip, and write its file; the receipt comes last.

    Raises:
        ContractError: the shard of codes is damaged or short, or a self-test fails.
    """
    import torch

    torch.set_num_threads(task.threads)
    models = loaded(task.model, task.root, task.weights_sha256, task.twin_seed)
    codes = read_codes(task)
    tested = self_test(models["model"], codes, task)
    info = models["model"].info
    parts: dict[str, list[np.ndarray]] = {}
    memories: dict[str, Memories] = {}
    rows: list[dict[str, Any]] = []
    for row, clip in enumerate(task.clips):
        own = codes[row : row + 1]
        vectors = models["model"].token_vectors(own)
        parts.setdefault(CODEC_HISTORY, []).append(vector_history(vectors, task.steps, info.audio_channels))
        for name, condition, states in passes(models, own, clip, task.capture):
            if condition == NULL and name in SHARED and name not in memories:
                memories[name] = gather(task.steps, states.n_steps)
            for key, values in states.values.items():
                if condition == NULL and name in memories:
                    memories[name].add(key, values)
                hookpoint = key.split("/")[0]
                stored, figures = _stored(values, info.n_delays, task.steps)
                for part, tensor in stored.items():
                    parts.setdefault(f"{name}/{condition}/{hookpoint}/{part}", []).append(tensor)
                columns = {"clip_id": clip.clip_id, "model": name, "condition": condition}
                columns |= {"hookpoint": hookpoint, "shard": task.shard, "row": row}
                columns |= {"n_steps": values.shape[1], "width": values.shape[2]}
                columns |= {k: float(figures[k][0]) for k in ("finite_fraction", "norm_mean", "step_change")}
                rows.append({"row_id": f"{clip.clip_id}/{name}/{condition}/{hookpoint}", **columns})
    about = {"clips": [clip.clip_id for clip in task.clips], "steps": list(task.steps)}
    about["models"] = {name: backend.info.weights_sha256 for name, backend in models.items()}
    write_shard(task.summary, {key: np.concatenate(tensors) for key, tensors in parts.items()}, about)
    for name, memory in memories.items():
        write_shard(memory_path(task.data, SHARED[name], task.shard), memory.tensors(), about)
    contributed = {"reencoded": rows, "selftests": [{"shard": task.shard, **tested}]}
    write_receipt(task.receipt, task.fingerprint, task.data, task.files, contributed)


def passes(
    models: dict[str, "MusicBackend"], codes: np.ndarray, clip: ForcedClip, capture: Capture
) -> Iterator[tuple[str, str, States]]:
    """Yield (model, condition, states) of one clip; own text and null text are the halves of one pass."""
    both, one = replace(capture, half="both"), replace(capture, half="cond")
    own, null, swapped = CONDITIONS
    for name, backend in models.items():
        made = backend.teacher_force(codes, [clip.text], both)
        for condition, half in ((own, "cond"), (null, "uncond")):
            of_half = {key: states for key, states in made.values.items() if key.endswith(f"/{half}")}
            yield name, condition, States(of_half)
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
def loaded(model: Model, root: Path, weights_sha256: str, seed: int) -> dict[str, "MusicBackend"]:
    """Return the models that read the tokens, in the order of `MODELS`; loaded once per process."""
    backend = catalog.load(model, root, recorded=weights_sha256, made=EARLIER)
    readers = (backend, backend.random_twin(seed), backend.random_decoder(seed))
    return dict(zip(MODELS, readers, strict=True))


def _stored(
    values: np.ndarray, n_delays: int, steps: tuple[int, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the tensors to store of one pass, and its quality figures per clip."""
    single_steps = _half_precision(values[:, list(steps)])
    running = Running(values.shape, n_delays)
    running.add(values, single_steps)
    summary = running.summary()
    means = {name: _half_precision(summary[name]) for name in ("mean", "early", "late")}
    return {**means, "var": summary["var"], "steps": single_steps}, running.figures()


def _half_precision(states: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # `check` refuses infinity by finite_fraction
        return states.astype(np.float16)


def self_test(backend: "MusicBackend", codes: np.ndarray, task: ReencodeTask) -> dict[str, float]:
    """Return the figures of table SELFTESTS for one shard.

    Raises:
        ContractError: a difference exceeds its limit.
    """
    forced, n_states = forced_difference(backend, codes, task)
    null = null_difference(backend, codes[:1], task)
    patch = patch_difference(backend, codes[:1], task)
    allowed = forced_limit(task.tolerance, task.model.dtype)
    limits = (
        ("states under own text", "equal those of generation", forced, allowed),
        ("states under null text", "not depend on the text beside them", null, 0.0),
        ("an identity patch", "change nothing", patch, 0.0),
    )
    for thing, rule, difference, limit in limits:
        if not difference <= limit:
            where = f"shard {task.shard}, allowed {limit:g}"
            advice = "Capture or teacher forcing is broken for this model: report it with the model's id"
            raise ContractError(
                must(thing, rule, f"a difference of {difference:.3g}", where=where, next_step=advice)
            )
    return {
        "forced_difference": forced,
        "null_difference": null,
        "patch_difference": patch,
        "n_states": n_states,
    }


def forced_difference(backend: "MusicBackend", codes: np.ndarray, task: ReencodeTask) -> tuple[float, int]:
    """Return the largest difference from the stored states of generation, and the number of compared values.

    The unit is the root mean square of the hookpoint over the shard. The rounding error of the value itself,
    as computed and as stored, is subtracted. A stored half `cond` is compared under own text, `uncond` under
    null text. Where generation stored no steps (generate.pooled_only), means over steps are compared.
    """
    pooled = not task.generated.keep_steps
    path = task.data / "activations" / shard_name("summary" if pooled else "shard", task.shard)
    end = "/mean" if pooled else ""
    wanted = {f"{name}/{half}" for name in _names(backend, task.capture) for half in ("cond", "uncond")}
    shared = [key.removesuffix(end) for key in shard_names(path) if key.removesuffix(end) in wanted]
    if not shared:
        rule, got = "share a hookpoint with generate.sites and generate.layers", list(task.capture.sites)
        advice = "Add one that generate recorded: the self-test needs it"
        raise UsageError(must("reencode.sites", rule, got, where="params.yaml", next_step=advice))
    sites = tuple(dict.fromkeys(key.split(".")[0] for key in shared))
    capture = replace(task.generated, sites=sites, layers=task.capture.layers, half="both", summaries=pooled)
    stored = read_shard(path, [f"{key}{end}" for key in shared])
    rounding = HALF_ULP + OWN * ROUNDING[task.model.dtype]
    worst, squares = dict.fromkeys(shared, 0.0), dict.fromkeys(shared, 0.0)
    for row, clip in enumerate(task.clips):
        forced = backend.teacher_force(codes[row : row + 1], [clip.text], capture)
        made = forced.summaries if pooled else forced.values
        for key in shared:
            before, again = stored[f"{key}{end}"][row].astype(np.float32), made[f"{key}{end}"][0]
            if before.shape != again.shape:
                where = f"{key}, clip {clip.clip_id}"
                advice = "Run `dvc repro generate` to record the clips again"
                rule = f"have the shape {again.shape}"
                raise ContractError(must(f"shard {path}", rule, before.shape, where=where, next_step=advice))
            beyond = np.abs(before - again) - rounding * np.abs(again) - TINY
            worst[key] = float(max(worst[key], beyond.max())) if np.isfinite(before).all() else np.inf
            squares[key] += float(np.square(again, dtype=np.float64).mean())
    ratios = [worst[key] / np.sqrt(squares[key] / len(task.clips) or 1.0) for key in shared]
    return float(max(ratios)), sum(stored[f"{key}{end}"].size for key in shared)


def null_difference(backend: "MusicBackend", codes: np.ndarray, task: ReencodeTask) -> float:
    """Return the largest difference of null-text states beside own and beside swapped text, first clip."""
    capture = replace(task.capture, half="both")
    clip = task.clips[0]
    own, swapped = (backend.teacher_force(codes, [t], capture) for t in (clip.text, clip.swapped_text))
    differences = [
        np.abs(states - swapped.values[key]).max() for key, states in own.values.items() if "/uncond" in key
    ]
    return float(max(differences))


def patch_difference(backend: "MusicBackend", codes: np.ndarray, task: ReencodeTask) -> float:
    """Return the largest change when the middle hookpoint is replaced by its own output in both halves."""
    capture = replace(task.capture, half="both")
    text = [task.clips[0].text]
    before = backend.teacher_force(codes, text, capture).values
    names = _names(backend, task.capture)
    name = names[len(names) // 2]
    same = [
        Intervention(name, "replace", half, vectors=before[f"{name}/{half}"][0])
        for half in ("cond", "uncond")
    ]
    after = backend.teacher_force(codes, text, capture, [same]).values
    return float(max(np.abs(states - after[key]).max() for key, states in before.items()))


def _names(backend: "MusicBackend", capture: Capture) -> list[str]:
    """Return the hookpoints of a capture, in the model's order."""
    names = []
    for name in backend.hookpoints():
        site, layer = name.split(".")
        requested = capture.layers is None or int(layer) in capture.layers or site in WHOLE_SITES
        if site in capture.sites and requested:
            names.append(name)
    return names
