"""Stage `temporal` on planted states: where in time emotion is, which layer keeps the beat, the errors."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import CLIPS, PROMPTS
from moodlens.params.pipeline import Params
from moodlens.stages import temporal
from moodlens.stages.report.chapters import CHAPTERS, chapters_of
from moodlens.store.run_record import Run
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_metrics, read_table, write_table
from tests.stages.planted import planted_params
from tests.stages.planted_steps import PLANTED_S, plant_steps

ROOT = Path(__file__).parents[2]
SHARD = "data/activations/shard-0003.safetensors"


def small_params() -> Params:
    params = planted_params()
    return replace(params, temporal=replace(params.temporal, n_permutations=199, n_bootstrap=100))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    plant_steps(root, small_params())
    return root


@pytest.fixture
def workspace(planted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(planted, tmp_path / "copy")


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    runs: list[Run] = []
    stage = temporal.run
    monkeypatch.setattr(temporal, "run", lambda *given: runs.append(stage(*given)))
    return runs


def _mean_norm(root: Path, emotion: str) -> float:
    """Return the mean norm at layer 1: of clips over steps, prompts over clips, wordings over prompts."""
    clips, prompts = (
        read_table(CLIPS, root / "data/clips.parquet"),
        read_table(PROMPTS, root / "data/prompts.csv"),
    )
    norms = [
        read_shard(root / f"data/activations/summary-{row.shard:04d}.safetensors")["residual.1/cond/norm"][
            row.row
        ]
        for row in clips.itertuples()
    ]
    of_clip = clips.assign(norm=[norm[3:-3].mean() for norm in norms])
    of_prompt = prompts.assign(norm=prompts["prompt_id"].map(of_clip.groupby("prompt_id")["norm"].mean()))
    own = of_prompt[of_prompt["emotion"] == emotion]
    return float(own.groupby("wording")["norm"].mean().mean())


def test_it_finds_where_emotion_is_and_which_layer_keeps_the_beat(workspace: Path, logged: list[Run]):
    temporal.run(small_params(), workspace)
    metrics = read_metrics(workspace / "metrics" / "temporal.json")
    steps = pd.read_csv(workspace / "metrics" / "temporal_steps.csv")
    certain = steps[steps["p_cluster"] < 0.05]
    assert set(certain["layer"]) == {1}
    inside = certain["time_s"].between(PLANTED_S[0] - 0.05, PLANTED_S[1] + 0.05)
    assert inside.mean() > 0.9
    assert len(certain) >= 0.8 * (PLANTED_S[1] - PLANTED_S[0]) * 50 / 4
    assert metrics["covered"] == pytest.approx(len(certain) / len(steps), abs=1e-5)
    assert metrics["cluster_p"] == metrics["smallest_p"] == 0.005
    assert metrics["tempo_site"] == "residual.1/cond"
    layers = pd.read_csv(workspace / "metrics" / "temporal_layers.csv").set_index("layer")
    assert layers.loc[1, "tempo_hits_components"] > 0.9
    assert layers.loc[1, "tempo_p_components"] < 0.05 < layers.loc[0, "tempo_p_components"]
    assert layers.loc[0, "tempo_hits_components"] < 0.3
    assert (layers["p_maxt"] > 0.05).all()  # the planted stretch lies in neither tenth
    readings = pd.read_csv(workspace / "metrics" / "temporal_readings.csv").set_index(["layer", "reading"])
    assert readings.loc[(1, "magnitude"), "sad"] == pytest.approx(_mean_norm(workspace, "sad"), rel=1e-4)
    spectra = pd.read_csv(workspace / "metrics" / "temporal_spectra.csv")
    assert spectra["share_null"].to_numpy() == pytest.approx(3 / (metrics["n_wordings"] - 1), rel=1e-5)
    assert logged[0].name == "temporal"
    assert [child.name for child in logged[0].children] == [
        "temporal/residual.0/cond",
        "temporal/residual.1/cond",
    ]


def test_the_same_inputs_give_the_same_bytes_and_fill_the_chapter(workspace: Path):
    seen = []
    for _ in range(2):
        temporal.run(small_params(), workspace)
        seen.append({path.name: path.read_bytes() for path in (workspace / "metrics").iterdir()})
    assert seen[0] == seen[1]
    (chapter,) = [chapter for chapter in CHAPTERS if chapter.key == "temporal"]
    finding = chapter.build(workspace, small_params())
    assert finding is not None
    assert "strongest frequency is the measured tempo" in finding.summary
    assert "no change is shown" in finding.summary
    assert len(finding.figures) == 2
    assert "no estimate of when" in finding.figures[0].caption
    (workspace / "metrics" / "temporal_spectra.csv").unlink()
    assert chapter.build(workspace, small_params()) is None


@pytest.mark.parametrize(
    ("policy", "setting", "value", "advice"),
    [
        ({"pooled_only": True}, "pooled_only", "True", "Set it to false"),
        ({"windows": [[0, 60], [90, 153]]}, "windows", "[[0.0, 1.2], [1.8, 3.06]]", "Set one window, or []"),
    ],
    ids=["pooled_only", "windows"],
)
def test_a_capture_policy_that_leaves_no_curves_ends_well_and_says_what_to_set(
    workspace: Path, logged: list[Run], policy: dict, setting: str, value: str, advice: str
):
    temporal.run(small_params(), workspace)
    tables = sorted((workspace / "metrics").glob("temporal_*.csv"))
    headers = [path.read_text().splitlines()[0] for path in tables]
    manifest = workspace / "data" / "activations" / "manifest.json"
    kept = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(kept | {"capture": kept["capture"] | policy}))
    for path in manifest.parent.glob("shard-*"):
        path.unlink()
    temporal.run(small_params(), workspace)
    metrics = read_metrics(workspace / "metrics" / "temporal.json")
    assert list(metrics) == ["not_run"]
    said = str(metrics["not_run"])
    assert said.startswith(f"generate.{setting} must ")
    assert f"got {value}" in said
    assert advice in said
    assert said.endswith("to get curves over time.")
    assert [path.read_text() for path in tables] == [f"{header}\n" for header in headers]
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["temporal"]
    promised = [name for name in stage["outs"] if name.startswith("metrics/")]
    assert len(promised) == 5
    assert [name for name in promised if not (workspace / name).is_file()] == []
    assert [run is None for run in logged] == [False, True], "only the run with curves has numbers"
    (chapter,) = [chapter for chapter in chapters_of(workspace, small_params()) if chapter.key == "temporal"]
    assert chapter.finding is None
    assert chapter.reason == said


def test_clips_may_stand_in_any_order_and_groups_may_differ_in_size(workspace: Path):
    path = workspace / "data" / "clips.parquet"
    table = read_table(CLIPS, path)
    keep = table[(table["seed"] == 0) | (table["emotion"] != "sad")]
    write_table(keep, CLIPS, path)
    temporal.run(small_params(), workspace)
    first = (workspace / "metrics" / "temporal_steps.csv").read_text()
    write_table(keep.sample(frac=1, random_state=0), CLIPS, path)
    temporal.run(small_params(), workspace)
    second = pd.read_csv(workspace / "metrics" / "temporal_steps.csv")
    (workspace / "first.csv").write_text(first)
    assert np.allclose(pd.read_csv(workspace / "first.csv")["effect"], second["effect"], atol=1e-5)
    assert read_metrics(workspace / "metrics" / "temporal.json")["n_clips"] == len(keep)


def spoil(root: Path, change: str) -> None:
    path = root / SHARD
    tensors = read_shard(path)
    name = "residual.1/cond"
    if change == "clips":
        tensors[name] = tensors[name][:5]
    elif change == "steps":
        tensors[name] = tensors[name][:, :100]
    elif change == "layer":
        del tensors[name]
    elif change == "value":
        tensors[name][2, 40, 1] = np.inf
    write_shard(path, tensors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("clips", r"shard-0003.safetensors, residual.1/cond must hold every clip; got '5 clips, row 15"),
        ("steps", r"shard-0003.safetensors, residual.1/cond must hold 153 steps; got 100"),
        ("layer", r"shard-0003.safetensors must hold residual.1/cond; got 'no such tensor'"),
        ("value", r"residual.1/cond must be finite; got 'a value that is not, clip \S+-s\d'"),
    ],
)
def test_damaged_shards_are_one_line(workspace: Path, change: str, said: str):
    spoil(workspace, change)
    with pytest.raises(ContractError, match=said) as caught:
        temporal.run(small_params(), workspace)
    assert "\n" not in str(caught.value)
    assert not (workspace / "metrics" / "temporal.json").exists()


def test_a_truncated_shard_is_one_line(workspace: Path):
    path = workspace / SHARD
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ContractError, match=r"shard-0003.safetensors must be a whole safetensors file"):
        temporal.run(small_params(), workspace)


def test_clips_of_two_lengths_are_refused(workspace: Path):
    path = workspace / "data" / "clips.parquet"
    table = read_table(CLIPS, path)
    table.loc[3, "n_steps"] += 50
    write_table(table, CLIPS, path)
    with pytest.raises(ContractError, match=r"clips must have one number of steps.*got '153, 203'"):
        temporal.run(small_params(), workspace)


def test_an_emotion_with_one_wording_is_refused(workspace: Path):
    path = workspace / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    table.loc[table["emotion"] == "calm", "wording"] = "calm"
    write_table(table, PROMPTS, path)
    with pytest.raises(ContractError, match="emotion 'calm' must have at least 2 wordings; got 1"):
        temporal.run(small_params(), workspace)


def test_windows_longer_than_half_the_clip_are_refused(workspace: Path):
    params = small_params()
    long = replace(params, temporal=replace(params.temporal, steps_per_window=100))
    with pytest.raises(ContractError, match="must hold at least 2 windows of 100 steps"):
        temporal.run(long, workspace)


def test_a_half_that_is_the_same_for_all_prompts_is_named(workspace: Path):
    """The null half of cross-attention is exactly zero."""
    for path in sorted((workspace / "data" / "activations").glob("*.safetensors")):
        tensors = read_shard(path)
        write_shard(path, {name: 0 * v if "residual.0" in name else v for name, v in tensors.items()})
    with pytest.raises(ContractError, match=r"site residual.0/cond must differ between prompts"):
        temporal.run(small_params(), workspace)
