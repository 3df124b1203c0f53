"""The forecast of stage `forks`: counts as in the stage's own plan, costs against hand-worked values."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from moodlens.backends.forks import plan
from moodlens.base.units import frames_for
from moodlens.contracts.backend import ModelInfo
from moodlens.forecast.forks import (
    NOT_APPLICABLE,
    Forking,
    Part,
    block_steps,
    forks_cost,
    parts_of,
    tasks_of,
)
from moodlens.forecast.generation import Rates
from moodlens.forecast.plan import forking_of, load_of, n_slots_of
from moodlens.forecast.sizes import Sizes, published_config, sizes_of
from moodlens.forks import cells
from moodlens.params.pipeline import Params, parse_params
from moodlens.prompts.assembly import prompt_table
from moodlens.stages.forks import stage
from moodlens.stages.prompts import draw_prompts
from moodlens.workspace.judged_pairs import comparable_slots
from tests.forecast.test_cost import LOAD, SMALL

ROOT = Path(__file__).parents[2]
SIZES = sizes_of(published_config(SMALL) or {})
RATES = Rates(1e11, 2e10)
FORKING = Forking(
    n_slots=6, n_seeds=2, steps=(10, 40), where_step=0, run_step=0, n_windows=3, guided=False,
    run_guided=True, block_clips=4, rows_per_task=8, judged_s=0.5,
)  # fmt: skip


def params_of(**changes: dict[str, Any]) -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["prompts"] |= {"n_per_emotion": 9, "sets": ["generic", "scenes", "neutral"]}
    for section, values in changes.items():
        raw[section] |= values
    return parse_params(raw)


def info_of(sizes: Sizes) -> ModelInfo:
    return ModelInfo(
        model_id="m", revision="", weights_sha256="ab", n_layers=sizes.n_layers, d_model=sizes.d_model,
        d_text=sizes.d_text, n_codebooks=sizes.n_codebooks, codebook_size=sizes.codebook_size,
        frame_rate_hz=sizes.frame_rate_hz, sample_rate_hz=sizes.sample_rate_hz, dtype="float32", device="cpu",
    )  # fmt: skip


def planned(params: Params) -> list[Any]:
    """Return the tasks of the stage itself."""
    prompts = prompt_table(draw_prompts(params.prompts, ROOT), params.prompts.seed)
    slots, reason = comparable_slots(prompts, params.forks.pairs, {}, "forks.pairs")
    assert reason == ""
    info = info_of(SIZES)
    return stage.plan_tasks(params, ROOT, info, slots, stage.parts_of(params, info))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"forks": {"n_seeds": 3, "rows_per_task": 5, "steps_s": [2.2, 0.02], "n_windows": 7}},
        {"forks": {"where_s": 0.08, "n_windows": 9}},  # fewer steps than windows
        {"forks": {"where_s": 0, "run_guidance_s": 0}},
        {"forks": {"steps_s": [0.5, 2.3, 3.0], "where_s": 3.0, "run_guidance_s": 2.4}},  # too late
        {"generate": {"guidance_scale": 1.0}},
        {"forks": {"guidance_scale": 2.0, "pairs": [["happy", "sad"], ["happy", "calm"], ["sad", "calm"]]}},
    ],
    ids=["default", "other sizes", "short prefix", "sources alone", "late", "one guidance", "guided"],
)
def test_continuations_and_tasks_are_those_of_the_stages_plan(changes: dict[str, Any]):
    params = params_of(**changes)
    tasks, forking = planned(params), forking_of(params, SIZES)
    parts = parts_of(SIZES, forking)
    assert sum(part.n_continuations for part in parts) == sum(len(t.rows) * len(t.cells) for t in tasks)
    judged = sum(len(t.rows) * (len(t.cells) + (len(cells.SIDES) if t.whole else 0)) for t in tasks)
    assert sum(part.n_judged for part in parts) == judged
    assert {part.n_halves for part in parts} == {1 if t.sampling.guidance_scale == 1 else 2 for t in tasks}
    n_frames = frames_for(params.generate.duration_s, SIZES.frame_rate_hz)
    assert {t.sampling.n_frames for t in tasks} == {n_frames}
    cost = forks_cost(SIZES, load_of(params, SIZES, 64, 32), replace(forking, rows_per_task=100), RATES)
    assert cost.workers == min(params.compute.workers, len(parts))


@pytest.mark.parametrize("number", [0, -1])
def test_rows_that_are_fed_back_are_the_stems_of_the_stage(number: int):
    params = params_of(generate={"guidance_scale": 1.0})
    task = planned(params)[number]
    codes = {name: np.zeros((len(task.rows), 4, 20), np.int16) for name in cells.PREFIXES}
    stems, branches = cells.plan(task.rows, codes, task.cells)
    part = parts_of(SIZES, forking_of(params, SIZES))[number]
    assert part.n_feeds == len(stems) / len(task.rows)
    assert part.n_cells * len(part.steps) == len(branches) / len(task.rows)


def test_captions_have_no_slots_and_the_grammar_has_one_per_prompt_and_pair():
    assert n_slots_of(params_of()) == 2 * 9
    captions = {"table_path": "own.csv", "sets": ["table"]}
    assert n_slots_of(params_of(prompts=captions)) == 0
    assert n_slots_of(params_of(prompts=captions | {"sets": ["generic", "table"]})) == 2 * 5
    assert n_slots_of(params_of(prompts={"emotions": ["happy", "sad", "calm"]})) == 9


def test_decoder_steps_by_hand():
    part = Part(n_rows=8, steps=(10, 40), n_cells=9, n_feeds=7, n_halves=1, whole=True)
    # 8 rows in blocks of 5: 32 clips of 53 steps in 7 blocks; 56 feeds of 40 steps in 12, and 6 for widths;
    # at each fork 72 continuations in 15 blocks, and 12 for widths, of 43 and 13 steps
    assert block_steps(part, 8, 53, 5) == 7 * 53 + (12 + 6) * 40 + (15 + 12) * (43 + 13)
    assert part.n_continuations == 8 * 2 * 9
    assert part.n_judged == 8 * (2 * 9 + 3)


@pytest.mark.parametrize(("block_clips", "rows_per_task"), [(32, 16), (16, 16), (32, 64)])
def test_decoder_steps_are_about_those_of_the_blocks_that_the_backend_plans(
    block_clips: int, rows_per_task: int
):
    size = {"block_clips": block_clips, "rows_per_task": rows_per_task}
    params = params_of(prompts={"n_per_emotion": 16}, forks=size)
    expected = sum(
        block_steps(part, n_rows, 203, block_clips)
        for part in parts_of(SIZES, forking_of(params, SIZES))
        for n_rows in tasks_of(part.n_rows, rows_per_task)
    )
    taken = 0
    for task in planned(params):
        numbers = 4 * np.arange(len(task.rows))[:, None, None]
        codes = {
            name: np.full((len(task.rows), 4, 200), place, np.int16) + numbers  # every clip another one
            for place, name in enumerate(cells.PREFIXES)
        }
        stems, branches = cells.plan(task.rows, codes, task.cells)
        taken += -(-4 * len(task.rows) // block_clips) * 203
        for block in plan(stems, branches, width, SIZES.n_layers, block_clips):
            taken += max(b.step for b in block.branch_blocks)
            taken += sum(203 - b.step for b in block.branch_blocks)
    assert 1 / 1.5 < expected / taken < 1.5


def width(text: str | None) -> int:
    """About the number of tokens of a text: its words, its commas and the end."""
    return 1 if text is None else 1 + len(text.replace(",", " ,").split())


def test_memory_and_disk_by_hand():
    cost = forks_cost(SIZES, LOAD, FORKING, RATES)
    # a stem block and a branch block: keys and values of 24 layers x 1024, 4 rows of 53 steps and 32 of text
    caches = 2 * 2 * 24 * 1024 * 4 * (4 * 53 + 4 * 32)
    decoding = 4 * 4 * 64 * 32_000 + 4 * 64 * 32_000
    assert cost.memory["forking, or decoding"] == max(caches + SIZES.packed_bytes("float32"), decoding)
    assert cost.memory["tokens of a task"] == 2 * 2 * (2 * 9 + 3) * 8 * 4 * 53
    assert cost.disk == {"table and receipts": 1000 * 12 * (2 * 9 + 3)}
    guided = forks_cost(SIZES, LOAD, replace(FORKING, run_step=10), RATES)
    grown = guided.memory["forking, or decoding"] - cost.memory["forking, or decoding"]
    assert grown == 2 * 2 * 24 * 1024 * 4 * 4 * 53  # both halves have states of self-attention


def test_time_grows_with_seeds_forks_and_places_and_falls_with_workers():
    def seconds(workers: int = 1, **changes: Any) -> float:
        load = replace(LOAD, workers=workers)
        return forks_cost(SIZES, load, replace(FORKING, **changes), RATES).seconds

    base = seconds()
    assert seconds(n_seeds=4) > base
    assert seconds(steps=(10, 20, 40)) > base
    assert seconds(where_step=10) > base
    assert seconds(run_step=10) > base
    assert seconds(workers=2) < base


def test_a_model_without_forks_costs_its_one_line():
    melody = sizes_of(published_config("facebook/musicgen-melody") or {})
    assert forks_cost(melody, LOAD, FORKING, RATES) == NOT_APPLICABLE
    for nothing in ({"n_slots": 0}, {"steps": ()}):
        assert forks_cost(SIZES, LOAD, replace(FORKING, **nothing), RATES) == NOT_APPLICABLE
