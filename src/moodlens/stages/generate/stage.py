"""Stage `generate`: clips, audio tokens, activations and their summaries, shard by shard.

Each shard is one task with a receipt (see `store.receipts`). An interrupted run resumes with its finished
shards. The bytes of the result do not depend on interruptions or on the number of workers.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from moodlens.backends import catalog
from moodlens.backends.trained_length import trained_s
from moodlens.base.errors import ContractError, UsageError, must
from moodlens.base.seeding import seed_for
from moodlens.base.units import beyond_training, frames_for, steps_for, steps_within
from moodlens.compute.pool import run_tasks
from moodlens.contracts.backend import Capture, ClipRequest, ModelInfo, Sampling
from moodlens.contracts.tables import ACTIVATIONS, CLIPS, PROMPTS
from moodlens.contracts.tensors import stored_steps
from moodlens.forecast import machine
from moodlens.forecast import plan as planning
from moodlens.forecast.generation import generate_cost
from moodlens.forecast.sizes import Sizes, sizes_of_checkpoint
from moodlens.params.pipeline import Params
from moodlens.prompts.reading import refuse_unread
from moodlens.stages.generate.shard import Clip, ShardTask, make_shard
from moodlens.store.atomic import replacing
from moodlens.store.code_fingerprint import made_by
from moodlens.store.receipts import fingerprint, joined_rows, remove_outdated, unfinished
from moodlens.store.tables import read_table, write_metrics, write_table


def run(params: Params, root: Path) -> None:
    """Write data/codes, data/activations, data/audio, data/clips.parquet and metrics/generate.json."""
    source = catalog.find(params.model, root)
    info = catalog.describe(source, params.model)
    tasks = plan(params, root, info)
    if not params.model.id.startswith(catalog.AUDIOCRAFT):
        _refuse_unread(tasks, source.checkpoint.folder)
    waiting = unfinished(tasks)
    done = len(tasks) - len(waiting)
    if waiting:
        _forecast(waiting, sizes_of_checkpoint(source.checkpoint), params, root)
    run_tasks(
        make_shard, waiting,
        workers=params.compute.workers, threads=params.compute.threads, label="generate", done=done,
    )  # fmt: skip
    _finish(tasks, params, root, info)


def _refuse_unread(tasks: list[ShardTask], folder: Path) -> None:
    """Refuse prompts that the model's text encoder does not tell apart."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text_of = {clip.request.prompt_id: clip.request.text for task in tasks for clip in task.clips}
    tokens = [tokenizer(text)["input_ids"] for text in text_of.values()]
    refuse_unread(list(text_of), list(text_of.values()), tokens, tokenizer.unk_token_id)


def _forecast(waiting: list[ShardTask], sizes: Sizes, params: Params, root: Path) -> None:
    """Print the expected cost of the unfinished shards, and refuse a run that cannot fit."""
    clips = [clip for task in waiting for clip in task.clips]
    n_prompts = len({clip.request.prompt_id for clip in clips})
    load = planning.load_of(params, sizes, len(clips), n_prompts)
    workers = min(params.compute.workers, len(waiting))
    cost = generate_cost(sizes, replace(load, workers=workers), machine.measured_rates())
    print(machine.line_of(cost, len(clips), workers), flush=True)
    if longer := beyond_training(params.generate.duration_s, trained_s(params.model, root)):
        print(f"plan: {longer}", flush=True)
    machine.check_fits(cost, root, workers, params.model.device)


def plan(params: Params, root: Path, info: ModelInfo) -> list[ShardTask]:
    """Return one task per shard: clips in the order of the prompt table, seeds of a prompt together.

    Raises:
        UsageError: a window of generate.windows stores no step.
        ContractError: there is no prompt.
    """
    section = params.generate
    clips = _clips(read_table(PROMPTS, root / "data" / "prompts.csv"), section.n_seeds, section.seed)
    if not clips:
        raise ContractError(
            must("data/prompts.csv", "hold prompts", "none", next_step="Run `dvc repro prompts`")
        )
    sampling = Sampling(
        n_frames=frames_for(section.duration_s, info.frame_rate_hz),
        guidance_scale=section.guidance_scale,
        temperature=section.temperature,
        top_k=section.top_k,
        top_p=section.top_p,
    )
    layers = None if section.layers == "all" else tuple(section.layers)
    capture = Capture(
        section.sites, layers, section.half, keep_steps=not section.pooled_only,
        step_stride=section.step_stride, windows=steps_within(section.windows, info.frame_rate_hz),
        dtype=section.store_dtype, summaries=True,
        attention=("cross", "self") if section.attention else (),
    )  # fmt: skip
    _check_windows(capture, steps_for(sampling.n_frames, info.n_delays))
    shared = _made_from(info, params, sampling, capture)
    size = section.clips_per_shard
    tasks = []
    for shard, at in enumerate(range(0, len(clips), size)):
        part = tuple(clips[at : at + size])
        tasks.append(
            ShardTask(
                shard=shard, clips=part, root=root, model=params.model, weights_sha256=info.weights_sha256,
                sampling=sampling, capture=capture, block_clips=section.block_clips,
                twin_seed=params.embed.twin_seed, threads=params.compute.threads,
                fingerprint=fingerprint({**shared, "shard": shard, "clips": [asdict(clip) for clip in part]}),
            )
        )  # fmt: skip
    return tasks


def _check_windows(capture: Capture, n_steps: int) -> None:
    """Refuse a window that stores no step: it lies beyond the clip, or between two steps of the stride."""
    for first, stop in capture.windows:
        if not stored_steps(n_steps, capture.step_stride, [(first, stop)]):
            rule = f"hold a stored step each (a clip has {n_steps}, every {capture.step_stride}. is stored)"
            advice = "Correct it, raise generate.duration_s or lower generate.step_stride"
            got = f"steps {first} to {stop}"
            raise UsageError(must("generate.windows", rule, got, where="params.yaml", next_step=advice))


def _clips(prompts: pd.DataFrame, n_seeds: int, base_seed: int) -> list[Clip]:
    clips = []
    columns = prompts[["prompt_id", "emotion", "text", "wording"]]
    for prompt_id, emotion, text, wording in columns.itertuples(index=False):
        for seed in range(n_seeds):
            key = seed_for("clip", base_seed, text, seed)
            request = ClipRequest(f"{prompt_id}-s{seed}", prompt_id, text, key, wording)
            clips.append(Clip(request, emotion, seed))
    return clips


def _made_from(info: ModelInfo, params: Params, sampling: Sampling, capture: Capture) -> dict[str, object]:
    """Return what every shard depends on: the weights of the model count, its name and location do not."""
    return {
        "model": asdict(replace(info, model_id="", revision="")),
        "text_padding": params.model.text_padding,
        "block_clips": params.generate.block_clips,
        "sampling": asdict(sampling),
        "capture": asdict(capture),
        "twin_seed": params.embed.twin_seed,
        **made_by("moodlens.stages.generate.shard"),
    }


def _finish(tasks: list[ShardTask], params: Params, root: Path, info: ModelInfo) -> None:
    """Join the receipts into tables, remove files of earlier plans, and write manifest and metrics."""
    data = root / "data"
    rows = joined_rows(tasks, ("clips", "activations"))
    write_table(pd.DataFrame(rows["clips"]), CLIPS, data / "clips.parquet")
    index = data / "activations" / "index.parquet"
    write_table(pd.DataFrame(rows["activations"]), ACTIVATIONS, index)
    capture = tasks[0].capture
    n_steps = steps_for(tasks[0].sampling.n_frames, info.n_delays)
    layers = list(range(info.n_layers)) if capture.layers is None else sorted(capture.layers)
    manifest = {
        "model": asdict(info),
        "sampling": asdict(tasks[0].sampling),
        "text_padding": params.model.text_padding,
        "capture": {
            "sites": list(capture.sites),
            "layers": layers,
            "half": capture.half,
            "step_stride": capture.step_stride,
            "windows": [list(window) for window in capture.windows],
            "store_dtype": capture.dtype,
            "pooled_only": not capture.keep_steps,
            "attention": list(capture.attention),
        },
        "twin_seed": params.embed.twin_seed,
        "n_clips": len(rows["clips"]),
        "n_steps": n_steps,
        "shards": {task.path("activations", "shard").name: task.fingerprint for task in tasks},
    }
    path = data / "activations" / "manifest.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    current = {path, index}
    for task in tasks:
        current |= {task.receipt, *task.shard_files, *task.audio_files}
    for folder in ("codes", "activations", "audio"):
        remove_outdated(data / folder, current, ("*.safetensors", "receipt-*.json", "*.flac", ".*.tmp"))
    write_metrics(
        {
            "n_clips": len(rows["clips"]),
            "n_prompts": len({row["prompt_id"] for row in rows["clips"]}),
            "n_steps": n_steps,
            "clip_s": params.generate.duration_s,
            "trained_s": trained_s(params.model, root),
            "layers": layers,
            "d_model": info.d_model,
            "model": info.model_id,
            "weights_sha256": info.weights_sha256,
        },
        root / "metrics" / "generate.json",
    )
