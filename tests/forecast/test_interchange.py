"""The forecast of stage `interchange`: counts as in the stage's own plan, costs against values by hand."""

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from moodlens.backends import catalog
from moodlens.backends.forks import plan
from moodlens.backends.interventions import donors_of
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.units import steps_for
from moodlens.contracts.backend import MusicBackend
from moodlens.contracts.interventions import Reading
from moodlens.forecast import interchange
from moodlens.forecast.forks import tasks_of
from moodlens.forecast.generation import Load, Rates
from moodlens.forecast.interchange import (
    CLIPS,
    NOT_APPLICABLE,
    Exchanging,
    displacing_bytes,
    interchange_cost,
    n_hookpoints_of,
    n_places_of,
    pass_bytes,
    passes_of,
    search_seconds,
    trial_blocks,
    trial_seconds,
)
from moodlens.forecast.plan import exchanging_of, load_of
from moodlens.forecast.sizes import Sizes, published_config, sizes_of
from moodlens.forks.cells import ONE, OTHER
from moodlens.forks.slots import Slot
from moodlens.params.pipeline import Model, Params
from moodlens.prompts.assembly import prompt_table
from moodlens.stages.interchange import search, stage
from moodlens.stages.interchange.trial import TrialTask
from moodlens.stages.prompts import draw_prompts
from moodlens.stats import sign_flip
from moodlens.use.discovery import Found
from moodlens.use.places import Place
from moodlens.use.plays import Frozen, branches
from moodlens.use.readings import readings
from moodlens.workspace.judged_pairs import comparable_slots
from tests.forecast.test_cost import LOAD, SMALL
from tests.forecast.test_forks import RATES, ROOT, info_of, params_of
from tests.tiny_model import save_tiny_model, tiny_model

SIZES = sizes_of(published_config(SMALL) or {})
EXCHANGING = Exchanging(
    n_slots=8, n_units=6, n_seeds=2, sites=("residual", "cross_attention"), n_windows=2, n_draws=9,
    guided=False, block_clips=4, rows_per_task=4, judged_s=0.5,
)  # fmt: skip
CHANGES: list[dict[str, Any]] = [
    {},
    {"interchange": {"n_seeds": 3, "rows_per_task": 5, "n_draws": 199, "n_windows": 1, "block_clips": 16}},
    {
        "prompts": {"n_per_emotion": 24},
        "interchange": {"sites": ["mlp", "self_attention"], "n_windows": 5, "pairs": [["happy", "sad"]]},
    },
    {"prompts": {"n_per_emotion": 40, "sets": ["scenes"]}, "interchange": {"sites": ["residual"]}},
    {
        "prompts": {"n_per_emotion": 16, "sets": ["generic", "neutral"]},
        "interchange": {"guidance_scale": 3.0},
    },
]
NAMES = ["default", "other sizes", "other sites, one pair", "words used often", "guided"]


def slots_of_stage(params: Params) -> list[Slot]:
    prompts = prompt_table(draw_prompts(params.prompts, ROOT), params.prompts.seed)
    slots, reason = comparable_slots(prompts, params.interchange.pairs, {}, "interchange.pairs")
    assert reason == ""
    return slots


def tasks_of_test(params: Params) -> list[TrialTask]:
    """Return the tasks of the test, from the stage itself."""
    slots = slots_of_stage(params)
    place = Place("residual.0")
    halves = {(" - ".join(slot.pair), slot.unit): 0 for slot in slots}
    found = Found(half_of=halves, chosen=(place, place), candidates=(), whole={}, whole_p=0.0)
    vectors = np.eye(4, SIZES.d_model, dtype=np.float32), np.zeros((params.interchange.n_draws, 1024))
    fixed = [Frozen(place, vectors[0], vectors[1].astype(np.float32))] * 2
    return stage.trial_tasks(params, ROOT, info_of(SIZES), slots, found, fixed)


@pytest.mark.parametrize("changes", CHANGES, ids=NAMES)
def test_slots_units_and_places_are_those_of_the_stage(changes: dict[str, Any]):
    params = params_of(**changes)
    exchanging, slots = exchanging_of(params, SIZES), slots_of_stage(params)
    assert exchanging.n_slots == len(slots)
    assert exchanging.n_units == len({(slot.pair, slot.unit) for slot in slots})
    tasks = stage.search_tasks(params, ROOT, info_of(SIZES), slots)
    assert [len(task.rows) for task in tasks] == tasks_of(exchanging.n_slots, exchanging.rows_per_task)
    n_steps = steps_for(tasks[0].sampling.n_frames, SIZES.n_delays)
    assert n_places_of(SIZES, exchanging, n_steps) == len(tasks[0].places)
    assert n_hookpoints_of(SIZES, exchanging) == len({place.hookpoint for place in tasks[0].places})
    assert len(search.TEXTS) == interchange.DISPLACED
    assert sign_flip.FEWEST_UNITS == interchange.FEWEST_UNITS


@pytest.mark.parametrize("changes", CHANGES, ids=NAMES)
def test_plays_and_blocks_are_those_of_the_stage(changes: dict[str, Any]):
    params = params_of(**changes)
    exchanging, tasks = exchanging_of(params, SIZES), tasks_of_test(params)
    size = exchanging.block_clips
    n_plays = n_rows = n_blocks = 0
    for task in tasks:
        stems, made = branches(task.rows, task.frozen, np.zeros((len(task.rows), 4, 20)), task.wanted)
        n_plays += len(made)
        n_blocks += -(-len(task.rows) // size)  # of the other clips
        for block in plan(stems, made, lambda _: 32, SIZES.n_layers, size):
            assert {one.step for one in block.branch_blocks} == {0}, "nothing is fed back"
            n_rows += sum(one.n_rows for one in block.branch_blocks)
            n_blocks += len(block.branch_blocks)
    assert (exchanging.n_plays, exchanging.n_played_rows) == (n_plays, n_rows)
    assert [len(task.rows) for task in tasks] == tasks_of(exchanging.n_rows, exchanging.rows_per_task)
    assert 1 / 1.15 < trial_blocks(exchanging) / n_blocks < 1.15
    assert {exchanging.n_halves} == {1 if t.sampling.guidance_scale == 1 else 2 for t in tasks}


def score_passes(asked: Sequence[Reading], block_clips: int) -> list[int]:
    """Return the rows of every pass in which the backend reads, with their donors."""
    rows: list[int] = []

    def score_clip(part: Sequence[Reading]) -> np.ndarray:
        rows.append(len(part) + len(donors_of([reading.edits for reading in part], one_clip=True)))
        return np.zeros(len(part))

    MusicgenBackend._score(SimpleNamespace(_block_clips=block_clips, _score_clip=score_clip), asked)  # type: ignore[arg-type]
    return rows


@pytest.mark.parametrize("block_clips", [1, 2, 3, 32, 400])
def test_passes_of_readings_are_those_of_the_backend(block_clips: int):
    params = params_of(interchange={"block_clips": block_clips})
    task = stage.search_tasks(params, ROOT, info_of(SIZES), slots_of_stage(params))[0]
    tokens = np.arange(2 * len(task.rows), dtype=np.int16).reshape(2, -1, 1, 1)
    asked = readings(task.rows, dict(zip((ONE, OTHER), tokens, strict=True)), task.places)
    assert score_passes(asked, block_clips) == CLIPS * len(task.rows) * passes_of(
        len(task.places), block_clips
    )


def tiny(tmp_path: Path) -> tuple[MusicBackend, Sizes, Load]:
    model = Model(str(save_tiny_model(tmp_path / "model")), "", "float32", "cpu")
    backend = catalog.load(model, tmp_path, block_clips=64)
    sizes = sizes_of(tiny_model().config.to_dict() | {"model_type": "musicgen"})
    return backend, sizes, replace(LOAD, n_frames=300)


@pytest.mark.parametrize("n_rows", [2, 40])
def test_memory_inside_a_pass_is_what_torch_allocates(n_rows: int, tmp_path: Path):
    """Of one row the logits are the largest, of many a layer; weights of attention are never formed."""
    backend, sizes, load = tiny(tmp_path)
    codes = np.zeros((sizes.n_codebooks, load.n_frames), np.int16)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiled:
        backend.score([Reading(codes, "happy piece")] * n_rows)
    profiled.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    peak = np.cumsum([n_bytes for _, n_bytes in changes]).max()
    assert pass_bytes(sizes, load, n_rows) == pytest.approx(peak, rel=0.12)


def test_memory_of_displacements_is_what_numpy_allocates(tmp_path: Path):
    backend, sizes, load = tiny(tmp_path)
    params = params_of(interchange={"sites": ["residual", "cross_attention"]})
    info = replace(info_of(SIZES), n_layers=sizes.n_layers, d_model=sizes.d_model)
    task = stage.search_tasks(params, ROOT, info, slots_of_stage(params))[0]
    codes = np.zeros((len(task.rows), sizes.n_codebooks, load.n_frames), np.int16)
    search.displacements(backend, task, codes)
    tracemalloc.start()
    search.displacements(backend, task, codes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    exchanging = exchanging_of(params, sizes)
    # torch holds the pass, numpy the states
    planned = displacing_bytes(sizes, load, exchanging) - pass_bytes(sizes, load, 1)
    assert planned == pytest.approx(peak, rel=0.2)


def test_memory_and_disk_by_hand():
    cost = interchange_cost(SIZES, LOAD, EXCHANGING, RATES)
    # 16 rows of 6 plays; 6 units with 9 more plays and 9 directions
    assert EXCHANGING.n_plays == 16 * 6 + 6 * (9 + 9)
    # 47 hookpoints, each with all steps and two windows
    assert cost.disk == {
        "plays: table and receipts": 1000 * (16 * 6 + 6 * 18),
        "scores: table and receipts": 500 * 8 * 47 * 3,
        "displacements": 4 * 8 * 47 * (2 * 1024 + 1),
    }
    # one block: keys and values of 24 layers x 1024, 4 rows of 53 steps and 32 of text; and packed weights
    generating = 2 * 24 * 1024 * 4 * (4 * 53 + 4 * 32) + SIZES.packed_bytes("float32")
    name = "generating, reading, displacements or decoding"
    assert cost.memory[name] == generating
    # 500 s: 5 rows (4 and a donor) x 25,003 steps x (4 x 1024 + 2 x 4096), or 7 clips of 48 layers
    assert pass_bytes(SIZES, replace(LOAD, n_frames=25_000), 5) == 4 * 5 * 25_003 * 12 * 1024
    long = replace(LOAD, n_frames=25_000, dtype="bfloat16")
    one_row = max(2 * 25_003 * 12 * 1024, 2 * 25_003 * 1024 + 2 * 4 * 25_003 * 4 * 2048)
    states = 4 * 48 * 1024 * (7 * 25_003 + 32)
    assert displacing_bytes(SIZES, long, EXCHANGING) == states + one_row
    assert interchange_cost(SIZES, long, EXCHANGING, RATES).memory[name] == states + one_row


def test_time_by_hand():
    rates = Rates(1e11, 2e10)
    block = replace(LOAD, n_halves_run=1)
    step = interchange.step_seconds(SIZES, block, rates)
    # 141 places and 2 readings without, in passes of 4 and 3: 36, of which each has a donor: 179 rows
    assert sum(passes_of(141, 4)) == 143 + 36
    flop = 2 * 8 * (2 * 179 + 3) * 53 * (SIZES.n_step + 24 * 1024 * 53)
    # two tasks of 4 rows, 8 clips each: 4 blocks of 53 steps
    assert search_seconds(SIZES, LOAD, EXCHANGING, rates) == pytest.approx(4 * 53 * step + flop / 0.6 / 1e11)
    # 4 tasks of 4 rows, 9 each; 18 + 9 more in a unit's first, of which two tasks have 2 and two have 1:
    # 90 and 63 rows in 23 and 16 blocks; and one block of further clips per task
    assert trial_blocks(EXCHANGING) == 2 * (23 + 16) + 4
    judged = EXCHANGING.n_plays * (2 * SIZES.n_codec * 50 * 10 / 1e11 + 1e-7 * 0.5 * 32_000)
    assert trial_seconds(SIZES, LOAD, EXCHANGING, rates) == pytest.approx(82 * 53 * step + judged)


def test_time_grows_with_seeds_places_and_draws_and_falls_with_workers():
    def seconds(workers: int = 1, **changes: Any) -> float:
        load = replace(LOAD, workers=workers)
        return interchange_cost(SIZES, load, replace(EXCHANGING, **changes), RATES).seconds

    base = seconds()
    for change in ({"n_seeds": 4}, {"n_windows": 4}, {"n_draws": 99}, {"guided": True}, {"n_units": 8}):
        assert seconds(**change) > base, change
    assert seconds(n_windows=1) < base
    assert seconds(workers=2) < base
    assert interchange_cost(SIZES, replace(LOAD, workers=9), EXCHANGING, RATES).workers == 4


def test_a_model_or_design_without_exchanges_costs_its_one_line():
    melody = sizes_of(published_config("facebook/musicgen-melody") or {})
    assert interchange_cost(melody, LOAD, EXCHANGING, RATES) == NOT_APPLICABLE
    for nothing in ({"n_slots": 0}, {"n_units": 5}):
        assert interchange_cost(SIZES, LOAD, replace(EXCHANGING, **nothing), RATES) == NOT_APPLICABLE
    captions = {"table_path": "own.csv", "sets": ["table"]}
    for changes in (
        {"prompts": captions},
        {"generate": {"duration_s": 1.0}},
        {"prompts": {"n_per_emotion": 4}},
    ):
        params = params_of(**changes)
        load = load_of(params, SIZES, 64, 32)
        assert interchange_cost(SIZES, load, exchanging_of(params, SIZES), RATES) == NOT_APPLICABLE, changes
