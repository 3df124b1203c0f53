"""Stage `null_text` on planted states: what is planted is found, an echo is not, and damage is one line."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tensors import MEMORIES
from moodlens.null_text.evidence import HISTORIES, NETWORK_FAMILIES, REQUIRED, UNTRAINED
from moodlens.null_text.untrained_memory import BEST
from moodlens.params.pipeline import Params
from moodlens.stages import null_text
from moodlens.store.run_record import Run
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_metrics
from tests.stages.planted import plant, planted_params
from tests.stages.planted_states import STEPS, plant_states


@pytest.fixture(autouse=True)
def logged(monkeypatch) -> list[Run]:
    runs: list[Run] = []
    stage = null_text.run
    monkeypatch.setattr(null_text, "run", lambda *given: runs.append(stage(*given)))
    monkeypatch.setattr(null_text, "N_TURNS", 39)
    return runs


def small(params: Params) -> Params:
    few = replace(params.null_text, n_permutations=999, n_bootstrap=200, n_draws=30, shots=(1, 2, 40))
    return replace(params, null_text=few)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    plant(root, "organism", planted_params())
    plant_states(root, holds=2.0)
    return root


@pytest.fixture(scope="module")
def params() -> Params:
    return small(planted_params())


def test_a_planted_state_is_found_above_every_control(planted: Path, params: Params, logged: list[Run]):
    null_text.run(params, planted)
    found = read_metrics(planted / "metrics" / "null_text.json")
    rung = found["state"]
    assert rung["p"] == rung["p_signal"] == rung["smallest_p"] == 0.001
    assert rung["accuracy"] > 0.8
    assert rung["ridge_accuracy"] > rung["permuted_extreme"]
    assert set(rung["beside"]) == {*REQUIRED, "token history", "codec history"}
    assert all(rung["beside"][name]["p"] < 0.025 for name in REQUIRED)
    untrained = [UNTRAINED + name for name in MEMORIES]
    assert set(rung["baselines"]) == {*untrained, *HISTORIES, *NETWORK_FAMILIES, BEST}
    assert all(rung["baselines"][name]["p"] < 0.025 for name in (*untrained, *NETWORK_FAMILIES))
    few = rung["few_shot"]
    assert few["shots"] == [1, 2]
    assert few["p"] == max(base["p"] for base in rung["baselines"].values())
    assert few["low"] < few["area"] < few["high"]
    assert few["area"] > 0.7
    for name, base in rung["baselines"].items():
        assert base["difference"] == pytest.approx(few["area"] - base["accuracy"], abs=1e-5), name
    found_in = {name: family["n_draws"] for name, family in few["families"].items()}
    assert found_in == {**dict.fromkeys(untrained, 5), **dict.fromkeys((*HISTORIES, *NETWORK_FAMILIES), 1)}
    assert few["families"][HISTORIES[0]]["site"].startswith("step ")
    assert " at step " in few["families"]["recurrent reader"]["site"]
    assert set(found["factors"]) == {"tempo", "loudness", "brightness", "mode"}
    assert set(found["factors"]["tempo"]["leads"]) == {*rung["beside"], "other descriptors"}
    assert rung["swap_read_as_music"] > 0.8 > 0.2 > rung["swap_read_as_text"]
    assert rung["swap_random_read_as_text"] > 0.8
    assert rung["arousal_r2"] > 0.7
    assert rung["arousal_p"] < 0.01
    assert rung["whole_shots"] == 1
    steps, curve = (pd.read_csv(planted / f"metrics/null_text_{name}.csv") for name in ("steps", "curve"))
    assert len(steps) == 3 * 3 * len(STEPS) + 2 * len(STEPS)
    assert set(steps["accuracy_null"]) == set(curve["accuracy_null"]) == {0.25}
    assert set(curve["n_shots"]) == {1, 2}  # 40 leaves no wording to test on
    assert set(curve["reading"]) == {"single step", "whole clip"}
    assert [run.name for run in logged] == ["null_text"]
    assert [child.name for child in logged[0].children] == [f"state/residual.{i}" for i in range(3)]


def test_an_echo_does_not_pass_as_a_state(tmp_path: Path, params: Params):
    plant(tmp_path, "shuffled", planted_params())
    plant_states(tmp_path, holds=0.0)
    null_text.run(params, tmp_path)
    rung = read_metrics(tmp_path / "metrics" / "null_text.json")["state"]
    assert rung["p"] > 0.01
    assert rung["p_signal"] > 0.01
    assert rung["accuracy"] < 0.45
    assert all(base["p"] > 0.025 for base in rung["baselines"].values())
    factors = read_metrics(tmp_path / "metrics" / "null_text.json")["factors"]
    assert all(max(factor["p"], factor["prompted_p"]) > 0.01 for factor in factors.values())
    assert rung["valence_p"] > 0.01


def test_the_same_inputs_give_the_same_bytes(planted: Path, params: Params):
    seen = []
    for _ in range(2):
        null_text.run(params, planted)
        seen.append(
            [(planted / "metrics" / f"null_text{end}").read_bytes() for end in (".json", "_curve.csv")]
        )
    assert seen[0] == seen[1]


def copy_of(root: Path, place: Path) -> Path:
    import shutil

    shutil.copytree(root / "data", place / "data")
    return place


def test_a_layer_missing_from_a_shard_is_one_line(planted: Path, params: Params, tmp_path: Path):
    root = copy_of(planted, tmp_path)
    path = root / "data" / "reencoded" / "summary-0003.safetensors"
    kept = {key: value for key, value in read_shard(path).items() if "null/residual.1" not in key}
    write_shard(path, kept)
    with pytest.raises(ContractError, match=r"summary-0003\.safetensors must hold .*null/residual\.1/steps"):
        null_text.run(params, root)


def test_a_missing_memory_is_one_line(planted: Path, params: Params, tmp_path: Path):
    root = copy_of(planted, tmp_path)
    path = root / "data" / "reencoded" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "n_draws": 4}))
    with pytest.raises(ContractError, match="hold the memories of at least 5 untrained decoders; got 4"):
        null_text.run(params, root)
    path.write_text(json.dumps({**manifest, "memories": ["states"]}))
    with pytest.raises(ContractError, match="hold the memories of at least 5 untrained decoders"):
        null_text.run(params, root)
    path.write_text(json.dumps(manifest))
    (root / "data" / "reencoded" / "memory-4-0002.safetensors").unlink()
    with pytest.raises(ContractError, match=r"memory-4-0002\.safetensors"):
        null_text.run(params, root)


def test_a_truncated_shard_is_one_line(planted: Path, params: Params, tmp_path: Path):
    root = copy_of(planted, tmp_path)
    path = root / "data" / "reencoded" / "summary-0002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ContractError, match=r"summary-0002\.safetensors must be a whole safetensors file"):
        null_text.run(params, root)


def test_steps_that_are_not_those_of_the_manifest_are_one_line(planted: Path, params: Params, tmp_path: Path):
    root = copy_of(planted, tmp_path)
    path = root / "data" / "reencoded" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "steps": [*STEPS, 100]}))
    with pytest.raises(ContractError, match="steps must hold the 4 steps of the manifest; got 3"):
        null_text.run(params, root)


def test_a_site_without_a_state_is_one_line(planted: Path, params: Params, tmp_path: Path):
    root = copy_of(planted, tmp_path)
    path = root / "data" / "reencoded" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "hookpoints": ["cross_attention.0"]}))
    with pytest.raises(ContractError, match="must hold a site that null text leaves a state"):
        null_text.run(params, root)


def test_shots_that_leave_no_test_are_one_line(planted: Path, params: Params):
    many = replace(params, null_text=replace(params.null_text, shots=(40,)))
    with pytest.raises(ContractError, match=r"null_text\.shots must hold a size from 1 to \d+"):
        null_text.run(many, planted)
