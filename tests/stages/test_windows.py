"""Windows of stored steps: what is stored, and what each reader of single steps makes of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodlens.base.errors import UsageError
from moodlens.contracts.tables import CLIPS, PROMPTS, TEXTS
from moodlens.contracts.tensors import shard_name
from moodlens.params.pipeline import Params
from moodlens.sae.texts import text_table
from moodlens.stages.generate import stage as generate
from moodlens.stages.reencode import shard as reencode_shard
from moodlens.stages.reencode import stage as reencode
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_metrics, read_table, write_table
from moodlens.workspace import sae_rows
from moodlens.workspace.design import clip_table, need_steps, open_workspace
from moodlens.workspace.shards import clock_of, states_by_shard
from tests.stages.datasets import small_params
from tests.stages.prompted import write_prompts
from tests.tiny_model import save_tiny_model

KEY = "residual.1/cond"
WINDOWS = ((0.0, 0.12), (0.3, 0.5))
STEPS = (0, 2, 4, 16, 18, 20, 22, 24)
"""Of 0.02 s; every second one that lies in a window: 0 - 5 and 15 - 24. Complete are 3 - 29."""


def with_windows(params: Params, windows: tuple[tuple[float, float], ...], stride: int = 2) -> Params:
    return replace(params, generate=replace(params.generate, windows=windows, step_stride=stride))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """A workspace that stores every step."""
    root = tmp_path_factory.mktemp("whole")
    params = small_params(save_tiny_model(root / "model"))
    write_prompts(params, root)
    generate.run(params, root)
    return root, params


@pytest.fixture(scope="module")
def cut(whole: tuple[Path, Params], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """The same, storing windows."""
    root, params = whole
    mine = tmp_path_factory.mktemp("cut")
    shutil.copytree(root / "model", mine / "model")
    params = with_windows(replace(params, model=replace(params.model, id=str(mine / "model"))), WINDOWS)
    write_prompts(params, mine)
    generate.run(params, mine)
    return mine, params


def shard(root: Path, kind: str) -> Path:
    return root / "data" / "activations" / shard_name(kind, 1)


def test_what_lies_in_a_window_is_stored_and_nothing_else_changes(whole, cut):
    every, some = (read_shard(shard(root, "shard"))[KEY] for root, _ in (whole, cut))
    assert np.array_equal(some, every[:, list(STEPS)])
    assert need_steps(cut[0]) == STEPS
    for kind in ("summary", "attention"):
        assert shard(cut[0], kind).read_bytes() == shard(whole[0], kind).read_bytes()
    manifest = read_metrics(cut[0] / "data" / "activations" / "manifest.json")
    assert manifest["capture"]["windows"] == [[0, 6], [15, 25]]


def test_reencode_compares_the_steps_that_are_there(cut, monkeypatch: pytest.MonkeyPatch):
    root, params = cut
    reencode_shard.loaded.cache_clear()
    reencode.run(params, root)
    found = read_metrics(root / "metrics" / "reencode.json")
    assert found["forced_difference"] < 1e-3
    hookpoints = read_metrics(root / "data" / "activations" / "manifest.json")["capture"]["layers"]
    clips = len(read_table(CLIPS, root / "data" / "clips.parquet"))
    assert found["n_states_compared"] == clips * len(STEPS) * 32 * len(hookpoints)


def test_an_sae_reads_the_complete_steps_of_the_windows_of_model_and_twin(cut):
    root, params = cut
    work = open_workspace(root)
    (root / "data" / "sae").mkdir(exist_ok=True)
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv")
    texts = text_table(prompts, params.prompts.emotions, diverse=True, seed=params.sae.seed)
    write_table(texts, TEXTS, root / "data" / "sae" / "texts.csv")
    clips = clip_table(work).reset_index(drop=True)
    for number, group in clips.groupby("shard"):
        steps = np.broadcast_to(np.arange(33.0)[:, None], (len(group), 33, 4)).astype(np.float16)
        write_shard(root / "data" / "sae" / shard_name("twin", int(str(number))), {KEY: steps})
    rows = sae_rows.open_rows(work, "residual.1")
    places = np.concatenate([block.positions for block in rows.blocks()])
    assert sorted(set(places.tolist())) == [4, 16, 18, 20, 22, 24]
    twin = sae_rows.open_rows(work, "residual.1", twin=True)
    for block in twin.blocks():
        assert np.array_equal(block.values[:, 0].astype(int), block.positions)
        assert sorted(set(block.positions.tolist())) == [4, 16, 18, 20, 22, 24]


def test_a_curve_over_time_needs_one_window_and_is_placed_in_it(whole, cut, tmp_path: Path):
    root, _ = cut
    work = open_workspace(root)
    with pytest.raises(UsageError) as caught:
        clock_of(work, clip_table(work))
    line = str(caught.value)
    assert line == (
        "generate.windows must leave no gap between stored steps; got [[0.0, 0.12], [0.3, 0.5]] (no step "
        "between 4 and 16). Set one window, or [] to store all, in params.yaml and run `dvc repro` to get "
        "curves over time."
    )
    one = shutil.copytree(whole[0], tmp_path / "one")
    _, params = whole
    params = with_windows(replace(params, model=replace(params.model, id=str(one / "model"))), ((0.3, 0.5),))
    generate.run(params, one)
    work = open_workspace(one)
    clips = clip_table(work).reset_index(drop=True)
    clock = clock_of(work, clips)
    assert clock.steps.tolist() == [16, 18, 20, 22, 24]
    assert (clock.stride, clock.first) == (2, 8)
    assert clock.rate_hz == pytest.approx(25)
    assert clock.frame_rate_hz == pytest.approx(50)
    found = dict(zip(*next(states_by_shard(work, clips, clock, KEY)), strict=True))
    every = read_shard(whole[0] / "data" / "activations" / shard_name("shard", 0))[KEY]
    assert np.array_equal(found[0], every[0, 16:25:2].astype(np.float32))


@pytest.mark.parametrize(
    ("windows", "stride", "got"),
    [(((0.0, 0.1), (5.0, 6.0)), 1, "steps 250 to 300"), (((0.02, 0.06),), 7, "steps 1 to 3")],
)
def test_a_window_that_stores_nothing_is_refused_before_any_work(
    whole, windows: tuple[tuple[float, float], ...], stride: int, got: str
):
    root, params = whole
    before = json.dumps(read_metrics(root / "data" / "activations" / "manifest.json"))
    with pytest.raises(UsageError, match=r"generate\.windows must hold a stored step each") as caught:
        generate.run(with_windows(params, windows, stride), root)
    assert got in str(caught.value)
    assert json.dumps(read_metrics(root / "data" / "activations" / "manifest.json")) == before
