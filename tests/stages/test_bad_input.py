"""What a user may do wrong or a disk may break: each ends in one clear line, or works and says how.

Every analysis stage reads through `workspace` and `sites`, so that `signal` and `probe` stand for all; the
state's own files are damaged in `test_state.py`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import PROMPTS
from moodlens.params.pipeline import Params
from moodlens.stages import decide, probe, signal
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_metrics, read_table, write_table
from tests.stages.planted import plant, planted_params

STAGES = {"signal": signal, "probe": probe}
SHARD = Path("data/activations/summary-0003.safetensors")
KEY = "residual.1/cond/mean"


def small(**prompts: object) -> Params:
    """Parameters that end in a moment; the layers are all that is read beside the text."""
    params = planted_params(**prompts)
    names = ("bow", "text", "layers")
    few = {"n_permutations": 99, "n_bootstrap": 50}
    return replace(
        params,
        signal=replace(params.signal, sites=names, metrics=("permanova",), **few),
        probe=replace(params.probe, sites=names, n_folds=4, **few),
    )


def edit(root: Path, change) -> None:
    """Apply `change` to the tensors of one shard of activations."""
    tensors = read_shard(root / SHARD)
    change(tensors)
    write_shard(root / SHARD, tensors)


def stop(stage: str, params: Params, root: Path) -> str:
    """Return the one line that the stage ends with."""
    with pytest.raises(ContractError) as caught:
        STAGES[stage].run(params, root)
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("stage", STAGES)
def test_one_emotion_only(tmp_path: Path, stage: str):
    params = small()
    plant(tmp_path, "random", params)
    path = tmp_path / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    table["emotion"] = table["emotion"].where(table["emotion"] == "sad", "neutral")
    write_table(table, PROMPTS, path)
    said = stop(stage, params, tmp_path)
    assert said.startswith("the design must hold at least two emotions; got 'sad'"), said
    assert "prompts.emotions" in said


@pytest.mark.parametrize("stage", STAGES)
def test_one_prompt_per_emotion(tmp_path: Path, stage: str):
    params = small(n_per_emotion=2)
    plant(tmp_path, "random", params)
    path = tmp_path / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    repeated = table["emotion"].duplicated()
    table.loc[repeated, "emotion"] = "neutral"
    write_table(table, PROMPTS, path)
    said = stop(stage, params, tmp_path)
    assert "must have at least 2 prompts; got 1" in said, said
    assert "prompts.n_per_emotion" in said


@pytest.mark.parametrize("stage", STAGES)
def test_a_dimension_that_is_not_a_number(tmp_path: Path, stage: str):
    params = small()
    plant(tmp_path, "random", params)

    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors[KEY][2, 5] = np.nan

    edit(tmp_path, spoil)
    assert "site residual.1/cond must be finite; got 'nan in row 50, dimension 5'" in stop(
        stage, params, tmp_path
    )


def test_a_constant_dimension_changes_nothing(tmp_path: Path):
    """A dead unit has no variance: every statistic is what it would be without it."""
    params = small()
    seen = []
    for place in ("whole", "dead"):
        root = tmp_path / place
        plant(root, "random", params)
        if place == "dead":
            for path in (root / "data" / "activations").iterdir():
                tensors = read_shard(path)
                dead = np.full((len(tensors[KEY]), 1), 7.0, dtype=np.float32)
                write_shard(
                    path, {k: np.hstack([v, dead]) if "residual" in k else v for k, v in tensors.items()}
                )
        signal.run(params, root)
        seen.append(read_metrics(root / "metrics" / "signal.json")["layers"])
    for name in ("effect", "f", "p"):
        assert seen[1][name] == pytest.approx(seen[0][name], rel=1e-4), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_layer_missing_from_a_shard(tmp_path: Path, stage: str):
    params = small()
    plant(tmp_path, "random", params)
    edit(tmp_path, lambda tensors: tensors.pop(KEY))
    said = stop(stage, params, tmp_path)
    assert "summary-0003.safetensors must hold" in said, said
    assert KEY in said


@pytest.mark.parametrize("stage", STAGES)
def test_a_truncated_shard(tmp_path: Path, stage: str):
    params = small()
    plant(tmp_path, "random", params)
    (tmp_path / SHARD).write_bytes((tmp_path / SHARD).read_bytes()[:-64])
    assert "summary-0003.safetensors must be a whole safetensors file" in stop(stage, params, tmp_path)


def test_unbalanced_groups_work_and_chance_stays(tmp_path: Path):
    """A third of one emotion's prompts is left: accuracies are balanced, so chance is still a quarter."""
    params = small()
    plant(tmp_path, "random", params)
    path = tmp_path / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    table.loc[np.flatnonzero(table["emotion"] == "sad")[5:], "emotion"] = "neutral"
    write_table(table, PROMPTS, path)
    for stage in STAGES.values():
        stage.run(params, tmp_path)
    found = read_metrics(tmp_path / "metrics" / "probe.json")
    assert (found["n_prompts"], found["chance"]) == (53, 0.25)
    assert found["layers"]["accuracy"] < 0.5


def test_a_threshold_that_the_prompts_cannot_reach(tmp_path: Path):
    """Two emotions of three prompts have ten labellings: no number of relabellings gives p < .001."""
    params = small(emotions=("happy", "sad"), n_per_emotion=3)
    few = {"sites": ("bow", "text"), "n_permutations": 1200}
    params = replace(
        params, signal=replace(params.signal, **few), probe=replace(params.probe, n_folds=3, **few)
    )
    plant(tmp_path, "random", params)
    for stage in STAGES.values():
        stage.run(params, tmp_path)
    with pytest.raises(ContractError) as caught:
        decide.run(params, tmp_path)
    said = str(caught.value)
    assert "the design for rung text_code must have at least 7 wordings for each of 2 emotions" in said, said
    assert "prompts.n_per_emotion" in said
