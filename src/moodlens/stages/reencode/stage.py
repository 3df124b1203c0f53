"""Stage `reencode`: the generated tokens read again by the model and by readers that it is compared with.

Under null text, the emotion in a layer comes from the music alone. The readers are two untrained decoders
under every text, further untrained decoders under null text, and a recurrent network trained on the tokens.
Each shard of `generate` is one task with a receipt, so that an interrupted run keeps its finished shards (see
`store.receipts`). So are each shard of a further decoder, and the network.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.backends import catalog
from moodlens.backends.recorded import recorded_weights, require_weights
from moodlens.base.seeding import rng_for
from moodlens.capture.recorders import spaced_steps
from moodlens.compute.pool import run_tasks
from moodlens.contracts.backend import Capture, ModelInfo
from moodlens.contracts.tables import CLIPS, NEUTRAL, PROMPTS, REENCODED, SELFTESTS, SWAPS
from moodlens.contracts.tensors import CONDITIONS, MEMORIES, MODELS, shard_name
from moodlens.forecast import machine
from moodlens.forecast import plan as planning
from moodlens.forecast.reencode import reencode_cost
from moodlens.forecast.sizes import Sizes, sizes_of_checkpoint
from moodlens.params.pipeline import Params, Reencode
from moodlens.prompts.design import swapped_prompts
from moodlens.stages.reencode.further_draws import MemoryTask, remember_shard
from moodlens.stages.reencode.memory import SHARED
from moodlens.stages.reencode.recurrent import RecurrentTask, read_recurrently
from moodlens.stages.reencode.shard import ForcedClip, ReencodeTask, reencode_shard
from moodlens.store.atomic import replacing
from moodlens.store.code_fingerprint import made_by
from moodlens.store.receipts import file_sha256, fingerprint, joined_rows, remove_outdated, unfinished
from moodlens.store.tables import read_metrics, read_table, values, write_metrics, write_table

Task = ReencodeTask | MemoryTask | RecurrentTask


def run(params: Params, root: Path) -> None:
    """Write data/reencoded and metrics/reencode.json."""
    source = catalog.find(params.model, root)
    info = catalog.describe(source, params.model)
    clips = read_table(CLIPS, root / "data" / "clips.parquet")
    swaps = swap_table(clips, read_table(PROMPTS, root / "data" / "prompts.csv"), params.reencode.swap_seed)
    tasks = plan(params, root, info, clips, swaps)
    readers = plan_readers(tasks, params.reencode, info)
    waiting = unfinished(tasks)
    if waiting:
        _forecast(waiting, sizes_of_checkpoint(source.checkpoint), params, root)
    still = [*waiting, *unfinished(readers)]
    run_tasks(
        run_task, still,
        workers=params.compute.workers, threads=params.compute.threads, label="reencode", unit="task",
        done=len(tasks) + len(readers) - len(still),
    )  # fmt: skip
    _finish(tasks, readers, swaps, root, info)


def run_task(task: Task) -> None:
    """Do one task of the stage."""
    match task:
        case ReencodeTask():
            reencode_shard(task)
        case MemoryTask():
            remember_shard(task)
        case RecurrentTask():
            read_recurrently(task)


def _forecast(waiting: list[ReencodeTask], sizes: Sizes, params: Params, root: Path) -> None:
    """Print the expected cost of the unfinished shards, and refuse a run that cannot fit."""
    n_clips = sum(len(task.clips) for task in waiting)
    n_prompts = len({clip.text for task in waiting for clip in task.clips})
    load = planning.load_of(params, sizes, n_clips, n_prompts)
    analysis = planning.analysis_of(params, sizes, n_prompts)
    cost = reencode_cost(sizes, load, analysis, machine.measured_rates())
    print(machine.line_of(cost, n_clips, cost.workers), flush=True)
    machine.check_fits(cost, root, cost.workers, params.model.device)


def swap_table(clips: pd.DataFrame, prompts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return table SWAPS: the prompt whose text each clip gets under swapped text."""
    emotions, ids = values(prompts, "emotion"), values(prompts, "prompt_id")
    given = swapped_prompts(values(clips, "emotion"), emotions, rng_for("swap", seed), without=[NEUTRAL])
    return pd.DataFrame(
        {
            "clip_id": values(clips, "clip_id"),
            "emotion": values(clips, "emotion"),
            "swapped_prompt_id": [ids[i] for i in given],
            "swapped_emotion": [emotions[i] for i in given],
        }
    )


def plan(
    params: Params, root: Path, info: ModelInfo, clips: pd.DataFrame, swaps: pd.DataFrame
) -> list[ReencodeTask]:
    """Return one task per shard of codes.

    Raises:
        UsageError: more single steps are requested than a clip has.
        ContractError: a shard of codes is absent, or the clips were made by another model.
    """
    section, data = params.reencode, root / "data"
    manifest: dict[str, Any] = read_metrics(data / "activations" / "manifest.json")
    require_weights(info.weights_sha256, recorded_weights(root))
    layers = None if section.layers == "all" else tuple(section.layers)
    capture = Capture(section.sites, layers, "both")
    steps = spaced_steps(int(manifest["n_steps"]), info.n_delays, section.n_steps)
    recorded = manifest["capture"]
    generated = Capture(
        keep_steps=not recorded["pooled_only"], step_stride=recorded["step_stride"],
        windows=tuple((first, stop) for first, stop in recorded["windows"]),
    )  # fmt: skip
    text_of = dict(zip(*_columns(root), strict=True))
    shared = {
        "model": asdict(replace(info, model_id="", revision="")),
        "capture": asdict(capture),
        "steps": steps,
        "twin_seed": section.twin_seed,
        "tolerance": section.tolerance,
        **made_by("moodlens.stages.reencode.shard"),
    }
    tasks = []
    given = dict(zip(values(swaps, "clip_id"), values(swaps, "swapped_prompt_id"), strict=True))
    for shard, group in clips.sort_values(["shard", "row"]).groupby("shard", sort=True):
        number = int(str(shard))
        ids = zip(values(group, "clip_id"), values(group, "prompt_id"), strict=True)
        part = tuple(ForcedClip(clip, text_of[prompt], text_of[given[clip]]) for clip, prompt in ids)
        path = data / "codes" / shard_name("shard", number)
        made_from = {
            "shard": number,
            "codes": file_sha256(path) if path.is_file() else "",  # reading it reports its absence
            "generated": manifest["shards"].get(path.name, ""),
            "clips": [asdict(clip) for clip in part],
        }
        tasks.append(
            ReencodeTask(
                shard=number, clips=part, n_frames=int(group["n_frames"].iloc[0]), root=root,
                model=params.model, weights_sha256=info.weights_sha256, capture=capture, steps=steps,
                generated=generated, twin_seed=section.twin_seed, tolerance=section.tolerance,
                threads=params.compute.threads,
                fingerprint=fingerprint({**shared, **made_from}),
            )
        )  # fmt: skip
    return tasks


def plan_readers(tasks: list[ReencodeTask], section: Reencode, info: ModelInfo) -> list[Task]:
    """Return the tasks of the recurrent network and of the further untrained decoders, decoder by decoder.

    Their fingerprints hold those of the shards, and so the tokens.
    """
    units = min(section.recurrent_units, info.d_model)
    shards = [task.fingerprint for task in tasks]
    network = {
        "shards": shards,
        "units": units,
        "n_steps": section.recurrent_steps,
        **made_by("moodlens.stages.reencode.recurrent"),
    }
    readers: list[Task] = [RecurrentTask(tuple(tasks), units, section.recurrent_steps, fingerprint(network))]
    code = made_by("moodlens.stages.reencode.further_draws")
    for draw in range(len(SHARED), section.n_draws):
        seed = section.twin_seed + draw - 1  # decoder 1 has twin_seed itself
        readers += [
            MemoryTask(task, draw, seed, fingerprint({"shard": task.fingerprint, "seed": seed, **code}))
            for task in tasks
        ]
    return readers


def _columns(root: Path) -> tuple[list[str], list[str]]:
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv")
    return values(prompts, "prompt_id"), values(prompts, "text")


def _finish(
    tasks: list[ReencodeTask], readers: list[Task], swaps: pd.DataFrame, root: Path, info: ModelInfo
) -> None:
    """Join the receipts into tables, remove files of earlier plans, and write manifest and metrics."""
    folder = root / "data" / "reencoded"
    rows = joined_rows(tasks, ("reencoded", "selftests"))
    joined_rows(readers, ())  # each must be finished
    index, tests, swapped = (folder / f"{name}.parquet" for name in ("index", "selftests", "swaps"))
    write_table(pd.DataFrame(rows["reencoded"]), REENCODED, index)
    write_table(pd.DataFrame(rows["selftests"]), SELFTESTS, tests)
    write_table(swaps, SWAPS, swapped)
    hookpoints = list(dict.fromkeys(row["hookpoint"] for row in rows["reencoded"]))
    n_draws = len(SHARED) + len({task.draw for task in readers if isinstance(task, MemoryTask)})
    manifest = {
        "model": asdict(info),
        "models": list(MODELS),
        "conditions": list(CONDITIONS),
        "hookpoints": hookpoints,
        "steps": list(tasks[0].steps),
        "n_draws": n_draws,
        "memories": list(MEMORIES),
        "shards": {task.summary.name: task.fingerprint for task in tasks},
    }
    path = folder / "manifest.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    current = {path, index, tests, swapped} | {
        file for task in (*tasks, *readers) for file in (task.receipt, *task.files)
    }
    remove_outdated(folder, current, ("*.safetensors", "receipt-*.json", ".*.tmp"))
    tested = rows["selftests"]
    worst = {
        name: max(float(row[name]) for row in tested)
        for name in ("forced_difference", "null_difference", "patch_difference")
    }
    write_metrics(
        {
            "n_clips": len(swaps),
            "n_hookpoints": len(hookpoints),
            "n_passes": len(swaps) * (len(MODELS) * len(CONDITIONS) + n_draws - len(SHARED)),
            "n_draws": n_draws,
            "n_states_compared": sum(int(row["n_states"]) for row in tested),
            **worst,
        },
        root / "metrics" / "reencode.json",
    )
