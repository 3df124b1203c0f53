"""Stage `forks`: forks of pairs of prompts, judged, and the verdict on each source of the emotion.

Continuations are made task by task with receipts (`store.receipts`), so a killed run resumes. Their
statistics take a second and are made anew in every run.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from moodlens.backends import catalog
from moodlens.backends.recorded import recorded_weights, require_weights
from moodlens.base.seeding import seed_for
from moodlens.base.units import frames_for
from moodlens.compute.pool import run_tasks
from moodlens.contracts.backend import ModelInfo, Sampling
from moodlens.contracts.tables import FORKS, PROMPTS
from moodlens.forks.analysis import Analysis, Plan, analyse, with_log_odds
from moodlens.forks.cells import SOURCES, Cell, Row, source_cells, where_cells
from moodlens.forks.records import PLOTTED, metrics_of, places_table, shares_table
from moodlens.forks.slots import Slot
from moodlens.forks.verdicts import Bars
from moodlens.params.pipeline import Params
from moodlens.stages.forks.shard import RECEIPTS, ForkTask, run_forks
from moodlens.store.code_fingerprint import made_by
from moodlens.store.receipts import fingerprint, joined_rows, remove_outdated, unfinished
from moodlens.store.run_record import Run
from moodlens.store.tables import read_table, write_metrics, write_plot, write_table
from moodlens.workspace.judged_pairs import comparable_slots, judge_name, judges_for

SHARES = ["guidance_scale", "source", "step_s", *PLOTTED, "nats_per_token"]
FACTORS = ["guidance_scale", "source", "step_s", "pair", "factor", "contrast", "low", "high"]


def run(params: Params, root: Path) -> Run | None:
    """Write data/forks.parquet, metrics/forks.json and the tables of shares, places and factors."""
    source = catalog.find(params.model, root)
    info = catalog.describe(source, params.model)
    require_weights(info.weights_sha256, recorded_weights(root))
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv")
    slots, reason = comparable_slots(prompts, params.forks.pairs, source.checkpoint.config, "forks.pairs")
    if reason:
        print(f"forks do not apply: {reason}", flush=True)
        return publish(root, [], info, reason)
    parts = parts_of(params, info)
    if not parts:
        reason = "no fork of forks.steps_s leaves forks.judged_s of the clip to judge"
        print(f"forks do not apply: {reason}", flush=True)
        return publish(root, [], info, reason)
    tasks = plan_tasks(params, root, info, slots, parts)
    waiting = unfinished(tasks)
    run_tasks(
        run_forks, waiting,
        workers=params.compute.workers, threads=params.compute.threads, label="forks",
        done=len(tasks) - len(waiting),
    )  # fmt: skip
    rows = joined_rows(tasks, ("forks",))["forks"]
    table = pd.DataFrame(rows, columns=FORKS.names)
    write_table(table, FORKS, root / "data" / "forks.parquet")
    remove_outdated(root / "data" / RECEIPTS, {task.receipt for task in tasks}, ("receipt-*.json", ".*.tmp"))
    judges, gaps = judges_for(params.model.id, root, slots, params.forks.judged_s)
    judged = with_log_odds(table, judges)
    section, decide = params.forks, params.decide
    bars = Bars(
        decide.alpha_strong, decide.alpha_weak, section.share_strong, section.share_weak, section.margin
    )
    how = Plan(bars, section.confidence, section.n_permutations, section.analysis_seed)
    scales = dict.fromkeys(part.sampling.guidance_scale for part in parts)
    analyses = [
        analyse(pd.DataFrame(judged[judged["guidance_scale"] == scale]), gaps, how) for scale in scales
    ]
    return publish(root, analyses, info, "", section.judged_s, judge_name(params.model.id))


@dataclass(frozen=True)
class Part:
    """A part of the experiment: the same cells for all slots and some seeds."""

    sampling: Sampling
    cells: tuple[Cell, ...]
    n_seeds: int
    whole: bool  # whether the whole clips, which make up the total, are described in this part


def parts_of(params: Params, info: ModelInfo) -> list[Part]:
    """Return the sources at every step; where the memory lies; the sources at the run's guidance.

    The last two take the first seed only. A fork that leaves less than forks.judged_s of the clip is left out
    and named.
    """
    section, generate = params.forks, params.generate
    steps_s = fitting(params, "forks.steps_s", section.steps_s)
    where_s = fitting(params, "forks.where_s", [section.where_s] if section.where_s else [])
    guided_s = fitting(
        params, "forks.run_guidance_s", [section.run_guidance_s] if section.run_guidance_s else []
    )
    sampling = Sampling(
        n_frames=frames_for(generate.duration_s, info.frame_rate_hz),
        guidance_scale=section.guidance_scale,
        temperature=generate.temperature,
        top_k=generate.top_k,
        top_p=generate.top_p,
    )

    def at(seconds: Sequence[float]) -> list[int]:
        return [round(second * info.frame_rate_hz) for second in sorted(seconds)]

    if not steps_s:
        return []
    parts = [Part(sampling, tuple(source_cells(at(steps_s))), section.n_seeds, whole=True)]
    parts += [
        Part(sampling, tuple(where_cells(step, info.n_layers, section.n_windows)), 1, whole=False)
        for step in at(where_s)
    ]
    if guided_s and generate.guidance_scale != section.guidance_scale:
        guided = replace(sampling, guidance_scale=generate.guidance_scale)
        parts.append(Part(guided, tuple(source_cells(at(guided_s))), 1, whole=True))
    return parts


def fitting(params: Params, name: str, seconds: Sequence[float]) -> list[float]:
    """Return the fork times behind which enough of a clip is left to judge; the others are printed."""
    duration_s, judged_s = params.generate.duration_s, params.forks.judged_s
    late = [second for second in seconds if second > duration_s - judged_s + 1e-9]
    if late:
        named = ", ".join(f"{second:g} s" for second in late)
        print(
            f"forks: {name} {named} left out: less than forks.judged_s = {judged_s:g} s is left", flush=True
        )
    return [second for second in seconds if second not in late]


def plan_tasks(
    params: Params,
    root: Path,
    info: ModelInfo,
    slots: Sequence[Slot],
    parts: Sequence[Part],
) -> list[ForkTask]:
    """Return the tasks of every part: rows_per_task rows each, seeds of a slot together."""
    section = params.forks
    shared = {
        "model": asdict(replace(info, model_id="", revision="")),
        "text_padding": params.model.text_padding,
        "block_clips": section.block_clips,
        "judged_s": section.judged_s,
        **made_by("moodlens.stages.forks.shard"),
    }
    tasks: list[ForkTask] = []
    for part in parts:
        rows = [
            Row(slot, seed, seed_for("fork", section.seed, slot.slot_id, slot.unit, seed))
            for slot in slots
            for seed in range(part.n_seeds)
        ]
        for at in range(0, len(rows), section.rows_per_task):
            some = tuple(rows[at : at + section.rows_per_task])
            made_from = {**shared, "part": asdict(part), "rows": [asdict(row) for row in some]}
            tasks.append(
                ForkTask(
                    number=len(tasks), rows=some, cells=part.cells, whole=part.whole,
                    sampling=part.sampling, root=root, model=params.model, weights_sha256=info.weights_sha256,
                    block_clips=section.block_clips, judged_s=section.judged_s,
                    threads=params.compute.threads, fingerprint=fingerprint(made_from),
                )
            )  # fmt: skip
    return tasks


def publish(
    root: Path,
    analyses: Sequence[Analysis],
    info: ModelInfo,
    reason: str,
    window_s: float | None = None,
    judge: str = "",
) -> Run | None:
    """Write metrics and tables of the analyses, and return the numbers of the run; none if inapplicable."""
    rate = info.frame_rate_hz
    metrics = {
        "applies": not reason,
        "reason": reason,
        "judged_s": window_s,
        "judge": judge,
        **metrics_of(analyses, rate),
    }
    write_metrics(metrics, root / "metrics" / "forks.json")
    shares = shares_table(analyses, rate)
    write_plot(shares.reindex(columns=SHARES), root / "metrics" / "forks_shares.csv")
    write_plot(places_table(analyses), root / "metrics" / "forks_places.csv")
    factors = [
        one.factors.assign(guidance_scale=one.guidance_scale, step_s=one.factors["step"] / rate)
        for one in analyses
    ]
    joined = pd.concat(factors) if factors else pd.DataFrame()
    write_plot(joined.reindex(columns=FACTORS), root / "metrics" / "forks_factors.csv")
    if not analyses:
        write_table(pd.DataFrame(columns=FORKS.names), FORKS, root / "data" / "forks.parquet")
        return None
    main = analyses[0]
    numbers = {f"share_{source.name}": source.share.share for source in main.sources}
    curves = {
        f"share_{series.source.partition(',')[0]}": [one.share for one in series.shares]
        for series in main.series
        if series.source in SOURCES
    }
    return Run("forks", metrics={**numbers, "total_share_of_gap": main.total.share_of_gap}, curves=curves)
