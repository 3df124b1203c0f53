"""Stage `interchange`: the search for a place, the frozen test there, and the verdict on the rung use.

Both waves run task by task with receipts (`store.receipts`), so a killed run resumes. The search reads clips
again with states exchanged at every place. Each half of the pairs of wordings then fixes its best place, the
directions of emotion there, and random directions; the other half is tested with these, on new noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.backends import catalog
from moodlens.backends.recorded import recorded_weights, require_weights
from moodlens.base.errors import Unsupported
from moodlens.base.seeding import rng_for, seed_for
from moodlens.base.units import frames_for, steps_for
from moodlens.compute.pool import run_tasks
from moodlens.contracts.backend import ModelInfo, Sampling
from moodlens.contracts.tables import INTERCHANGE, PROMPTS, SCORES
from moodlens.forks.analysis import with_log_odds
from moodlens.forks.cells import Row
from moodlens.forks.slots import Slot
from moodlens.params.pipeline import Params
from moodlens.stages.interchange.search import FOLDER, SearchTask, run_search
from moodlens.stages.interchange.trial import TrialTask, run_trial
from moodlens.store.code_fingerprint import made_by
from moodlens.store.receipts import fingerprint, joined_rows, remove_outdated, unfinished
from moodlens.store.run_record import Run
from moodlens.store.shards import read_shard
from moodlens.store.tables import read_table, write_metrics, write_plot, write_table
from moodlens.use.analysis import OF_FACTORS, Analysis, analyse
from moodlens.use.directions import emotion_basis, null_vectors
from moodlens.use.discovery import N_HALVES, Found, Unit, find
from moodlens.use.evidence import Bars, Plan
from moodlens.use.places import Place, places
from moodlens.use.plays import Frozen, Play, plays, primary_plays
from moodlens.use.records import ARMS, PLACES, arms_table, metrics_of, places_table
from moodlens.workspace.judged_pairs import comparable_slots, judge_name, judges_for

SEARCH, TRIAL = "search", "trial"
"""The two waves; each has noise of its own."""
OURS = ("receipt-*.json", "displaced-*.safetensors", ".*.tmp")


def run(params: Params, root: Path) -> Run | None:
    """Write data/interchange*.parquet, metrics/interchange.json, and the tables of places, arms, factors."""
    source = catalog.find(params.model, root)
    info = catalog.describe(source, params.model)
    require_weights(info.weights_sha256, recorded_weights(root))
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv")
    section = params.interchange
    config = source.checkpoint.config
    slots, reason = comparable_slots(prompts, section.pairs, config, "interchange.pairs")
    if not reason and section.judged_s > params.generate.duration_s:
        reason = f"clips are shorter than interchange.judged_s = {section.judged_s:g} s"
    if reason:
        return not_applicable(root, reason)
    searching = search_tasks(params, root, info, slots)
    scored = finish(searching, run_search, params, "search")
    table = pd.DataFrame(scored["scores"], columns=SCORES.names)
    write_table(table, SCORES, root / "data" / "interchange_scores.parquet")
    found = find(table, section.analysis_seed, section.n_permutations, section.confidence)
    try:
        fixed = fixed_by(params, searching, found)
    except Unsupported as why:  # the search has run; the rest of the pipeline goes on
        return not_applicable(root, f"at {' and '.join(place.name for place in found.chosen)} {why}")
    testing = trial_tasks(params, root, info, slots, found, fixed)
    played = finish(testing, run_trial, params, "interchange")
    table = pd.DataFrame(played["plays"], columns=INTERCHANGE.names)
    write_table(table, INTERCHANGE, root / "data" / "interchange.parquet")
    kept = {task.receipt for task in (*searching, *testing)} | {task.displaced for task in searching}
    remove_outdated(root / "data" / FOLDER, kept, OURS)
    judges, gaps = judges_for(params.model.id, root, slots, section.judged_s)
    decide = params.decide
    bars = Bars(
        decide.alpha_strong, decide.alpha_weak, section.share_strong, section.share_weak, section.margin,
        section.rank_strong, section.rank_weak,
    )  # fmt: skip
    how = Plan(bars, section.confidence, section.n_permutations, section.analysis_seed)
    analysis = analyse(with_log_odds(table, judges), found, gaps, how)
    about = {
        "judged_s": section.judged_s,
        "judge": judge_name(params.model.id),
        "n_directions": section.n_directions,
    }
    return publish(root, (found, analysis, info), "", about)


def not_applicable(root: Path, reason: str) -> None:
    """Say why there is no exchange to test, and write empty tables."""
    print(f"interchange does not apply: {reason}", flush=True)
    publish(root, None, reason)


def finish(tasks: Sequence[Any], work: Any, params: Params, label: str) -> dict[str, list[dict[str, Any]]]:
    """Run the tasks that are not finished, and return the rows of all."""
    waiting = unfinished(tasks)
    run_tasks(
        work, waiting,
        workers=params.compute.workers, threads=params.compute.threads, label=label,
        done=len(tasks) - len(waiting),
    )  # fmt: skip
    return joined_rows(tasks, ("scores",) if label == SEARCH else ("plays",))


def hookpoints_of(params: Params, info: ModelInfo) -> list[str]:
    """Return the hookpoints of the search: every layer of the sites, but not the last residual."""
    names = [f"{site}.{layer}" for site in params.interchange.sites for layer in range(info.n_layers)]
    return [name for name in names if name != f"residual.{info.n_layers - 1}"]


def sampling_of(params: Params, info: ModelInfo) -> Sampling:
    """Return how tokens are drawn, as in stage `generate` but for the guidance."""
    generate = params.generate
    return Sampling(
        n_frames=frames_for(generate.duration_s, info.frame_rate_hz),
        guidance_scale=params.interchange.guidance_scale,
        temperature=generate.temperature,
        top_k=generate.top_k,
        top_p=generate.top_p,
    )


def rows_of(params: Params, slots: Sequence[Slot], wave: str) -> list[Row]:
    """Return the rows of a wave: one seed in the search, n_seeds in the test. The two share no noise."""
    section = params.interchange
    return [
        Row(slot, seed, seed_for("interchange", section.seed, wave, slot.slot_id, slot.unit, seed))
        for slot in slots
        for seed in range(1 if wave == SEARCH else section.n_seeds)
    ]


def plays_of(rows: Sequence[Row], n_draws: int) -> list[tuple[Play, ...]]:
    """Return the plays of every row: all of them in the first row of each unit."""
    first = {_unit(row): number for number, row in reversed(list(enumerate(rows)))}
    return [
        tuple(plays(n_draws) if first[_unit(row)] == number else primary_plays())
        for number, row in enumerate(rows)
    ]


def shared_by(params: Params, root: Path, info: ModelInfo, module: str) -> tuple[dict, dict]:
    """Return the fields of every task of a wave, and what their fingerprints share."""
    fields = {
        "sampling": sampling_of(params, info), "root": root, "model": params.model,
        "weights_sha256": info.weights_sha256, "block_clips": params.interchange.block_clips,
        "threads": params.compute.threads,
    }  # fmt: skip
    made_from = {
        "model": asdict(replace(info, model_id="", revision="")),
        "text_padding": params.model.text_padding,
        "block_clips": params.interchange.block_clips,
        "sampling": asdict(fields["sampling"]),
        **made_by(f"moodlens.stages.interchange.{module}"),
    }
    return fields, made_from


def search_tasks(params: Params, root: Path, info: ModelInfo, slots: Sequence[Slot]) -> list[SearchTask]:
    """Return the tasks of the search: rows_per_task rows each."""
    section = params.interchange
    fields, made_from = shared_by(params, root, info, "search")
    n_steps = steps_for(fields["sampling"].n_frames, info.n_delays)
    looked_at = tuple(places(hookpoints_of(params, info), n_steps, section.n_windows))
    rows, size = rows_of(params, slots, SEARCH), section.rows_per_task
    tasks = []
    for number, at in enumerate(range(0, len(rows), size)):
        some = tuple(rows[at : at + size])
        own = {"places": [place.name for place in looked_at], "rows": [asdict(row) for row in some]}
        made = fingerprint({**made_from, **own})
        tasks.append(SearchTask(number=number, rows=some, places=looked_at, fingerprint=made, **fields))
    return tasks


def trial_tasks(
    params: Params,
    root: Path,
    info: ModelInfo,
    slots: Sequence[Slot],
    found: Found,
    fixed: Sequence[Frozen],
) -> list[TrialTask]:
    """Return the tasks of the test, numbered behind those of the search."""
    section = params.interchange
    fields, made_from = shared_by(params, root, info, "trial")
    rows, size = rows_of(params, slots, TRIAL), section.rows_per_task
    wanted = plays_of(rows, section.n_draws)
    first = len(range(0, len(rows_of(params, slots, SEARCH)), size))
    digests = [sha256(one.basis.tobytes() + one.nulls.tobytes()).hexdigest() for one in fixed]
    tasks = []
    for number, at in enumerate(range(0, len(rows), size), start=first):
        some = tuple(rows[at : at + size])
        by = [1 - found.half_of[_unit(row)] for row in some]  # the half without the unit
        keys = tuple(
            seed_for("interchange other", section.seed, row.slot.slot_id, row.slot.unit, row.seed)
            for row in some
        )
        own_plays = tuple(wanted[at : at + size])
        own = {
            "rows": [asdict(row) for row in some], "n_plays": [len(each) for each in own_plays],
            "judged_s": section.judged_s,
            "fixed": [[fixed[half].place.name, digests[half]] for half in by],
        }  # fmt: skip
        tasks.append(
            TrialTask(
                number=number, rows=some, frozen=tuple(fixed[half] for half in by), other_keys=keys,
                wanted=own_plays, judged_s=section.judged_s,
                fingerprint=fingerprint({**made_from, **own}), **fields,
            )
        )  # fmt: skip
    return tasks


def _unit(row: Row) -> Unit:
    return " - ".join(row.slot.pair), row.slot.unit


def fixed_by(params: Params, tasks: Sequence[SearchTask], found: Found) -> list[Frozen]:
    """Return what each half fixed: its place, the emotion's directions of its own rows, null directions.

    Where both halves chose one place, they share the null directions, so that the test can rank all units
    together. Those are drawn from all rows: they differ within emotions alone, and the directions of both
    halves are projected out.
    """
    section = params.interchange
    displaced = [displacements_of(tasks, found, half, found.chosen[half]) for half in range(N_HALVES)]
    bases = [emotion_basis(gaps, section.n_directions) for gaps, _, _ in displaced]

    def draws(halves: Sequence[int]) -> np.ndarray:
        within, norms = (np.concatenate([displaced[half][part] for half in halves]) for part in (1, 2))
        gaps = np.concatenate([bases[half] for half in halves])
        known = emotion_basis(gaps, len(gaps))
        rng = rng_for("interchange nulls", section.analysis_seed, *halves)
        return null_vectors(within, known, float(norms.mean()), section.n_draws, rng)

    shared = draws(range(N_HALVES)) if found.chosen[0] == found.chosen[1] else None
    return [
        Frozen(found.chosen[half], bases[half], draws([half]) if shared is None else shared)
        for half in range(N_HALVES)
    ]


def displacements_of(
    tasks: Sequence[SearchTask], found: Found, half: int, place: Place
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gaps (row, width), displacements within emotions (row, width) and lengths (row,) of a half."""
    members, parts = set(found.units(half)), ("gap", "within", "norm")
    read: list[list[np.ndarray]] = []
    for task in tasks:
        own = [number for number, row in enumerate(task.rows) if _unit(row) in members]
        names = [f"{place.hookpoint}/{part}" for part in parts]
        tensors = read_shard(task.displaced, names)
        read.append([tensors[name][own] for name in names])
    gaps, within, norms = (np.concatenate([one[part] for one in read]) for part in range(len(parts)))
    return gaps, within, norms


def publish(
    root: Path,
    result: tuple[Found, Analysis, ModelInfo] | None,
    reason: str,
    about: Mapping[str, Any] | None = None,
) -> Run | None:
    """Write metrics and tables, and return the numbers of the run; none if interchange does not apply."""
    folder = root / "metrics"
    metrics: dict[str, Any] = {"applies": result is not None, "reason": reason, **(about or {})}
    tables = {name: pd.DataFrame(columns=list(columns)) for name, columns in
              (("places", PLACES), ("arms", ARMS), ("factors", OF_FACTORS))}  # fmt: skip
    if result is not None:
        found, analysis, info = result
        metrics |= metrics_of(found, analysis, info.frame_rate_hz)
        tables = {
            "places": places_table(found, info.frame_rate_hz),
            "arms": arms_table(analysis),
            "factors": analysis.factors,
        }
    write_metrics(metrics, folder / "interchange.json")
    for name, table in tables.items():
        write_plot(table, folder / f"interchange_{name}.csv")
    if result is None:
        for schema, name in ((SCORES, "interchange_scores"), (INTERCHANGE, "interchange")):
            write_table(pd.DataFrame(columns=schema.names), schema, root / "data" / f"{name}.parquet")
        return None
    use = metrics["use"]
    return Run(
        "interchange", metrics={"mediated_share": use["share"], "p": use["p"], "rank_p": use["rank_p"]}
    )
