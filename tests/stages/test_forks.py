"""Stage `forks` on a tiny model: its tables, its resumption, its bad input."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from moodlens.audio.judge import Judge
from moodlens.backends import catalog
from moodlens.base.errors import ContractError
from moodlens.contracts.tables import FORKS, PROMPTS
from moodlens.params.pipeline import Params, parse_params
from moodlens.prompts.assembly import prompt_table
from moodlens.prompts.design import design
from moodlens.stages.forks import stage
from moodlens.store.judge_file import write_judge
from moodlens.store.tables import read_metrics, read_table, write_metrics, write_table
from moodlens.workspace.judged_pairs import FAMILY_JUDGE, comparable_slots
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).parents[2]
N_EMOTIONS = 4
FIELDS: dict[str, Any] = {
    "pairs": [["happy", "sad"]], "n_seeds": 1, "steps_s": [0.04, 0.1], "run_guidance_s": 0.1,
    "where_s": 0.1, "n_windows": 2, "judged_s": 0.5, "block_clips": 4, "rows_per_task": 4,
    "n_permutations": 99,
}  # fmt: skip


def params_of(**forks: object) -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["generate"]["duration_s"] = 0.6
    raw["forks"] |= FIELDS | forks
    raw["compute"] = {"workers": 1, "threads": 1}
    return parse_params(raw)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny_model(tmp_path_factory.mktemp("model") / "organism")
    emotions = ("calm", "energetic", "happy", "sad")
    rows = tuple(tuple(float(i == j) for j in range(5)) for i in range(N_EMOTIONS))
    judge = Judge(
        0.5, emotions, (0.0,) * 5, (1.0,) * 5, rows, (0.0,) * N_EMOTIONS, 8, 1.0, {"happy - sad": 5.0}
    )
    write_judge(judge, folder / "judge.json")
    return folder


def workspace(root: Path, model: Path, sets: tuple[str, ...] = ("generic",), n: int = 12) -> Path:
    shutil.copytree(model, root / "models" / "organism")
    (root / "metrics").mkdir()
    prompts = prompt_table(design(("happy", "sad"), n, sets, seed=0), seed=0)
    write_table(prompts, PROMPTS, root / "data" / "prompts.csv")
    source = catalog.find(params_of().model, root)
    manifest = {"model": {"weights_sha256": source.weights_sha256}}
    write_metrics(manifest, root / "data" / "activations" / "manifest.json")
    return root


def test_other_weights_than_those_of_the_clips_are_refused(tmp_path: Path, model: Path):
    root = workspace(tmp_path, model)
    weights = root / "models" / "organism" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ContractError, match=r"model\.id must be the model that made the clips in data/"):
        stage.run(params_of(), root)


def test_tables_and_metrics_of_a_run_and_a_second_run_keeps_its_tasks(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
):
    root = workspace(tmp_path, model)
    run = stage.run(params_of(), root)
    assert run is not None
    table = read_table(FORKS, root / "data" / "forks.parquet")
    assert table["row_id"].is_unique
    per_row = {"main": 2 * 9 + 3, "where": 2 + 2 * 2 + 2 * 2, "guided": 9 + 3}
    assert len(table) == 12 * sum(per_row.values())
    assert set(table["guidance_scale"]) == {1.0, 3.0}
    metrics: dict[str, Any] = read_metrics(root / "metrics" / "forks.json")
    assert metrics["applies"]
    assert metrics["judge"] == FAMILY_JUDGE
    assert set(metrics["main"]["sources"]) == {"music", "memory", "reading"}
    assert metrics["main"]["n_units"] == 6
    shares = pd.read_csv(root / "metrics" / "forks_shares.csv")
    assert sorted(set(shares["step_s"])) == [0.04, 0.1]
    places = pd.read_csv(root / "metrics" / "forks_places.csv")
    assert list(places["place"]) == ["layer 0", "layer 1", "steps 0-2", "steps 2-5"]
    assert places["share"][0] == 0, "the cache of layer 0 never holds text"
    before = (root / "data" / "forks.parquet").read_bytes()

    def refuse(task: object) -> None:
        raise AssertionError("a finished task ran again")

    monkeypatch.setattr(stage, "run_forks", refuse)
    stage.run(params_of(n_permutations=199), root)
    assert (root / "data" / "forks.parquet").read_bytes() == before


def test_the_rows_do_not_depend_on_their_task(tmp_path: Path, model: Path):
    tables = []
    for size in (3, 12):
        root = workspace(tmp_path / str(size), model)
        stage.run(params_of(rows_per_task=size, where_s=0, run_guidance_s=0), root)
        table = read_table(FORKS, root / "data" / "forks.parquet")
        tables.append(table.sort_values("row_id", ignore_index=True))
    pd.testing.assert_frame_equal(*tables)


def test_forks_outside_the_clip_are_left_out_and_named_and_do_not_stop_the_run(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    """Short clips were generated and re-encoded before the default forks.steps_s were refused."""
    root = workspace(tmp_path, model)
    stage.run(params_of(steps_s=[0.7], where_s=0.6, run_guidance_s=0), root)
    assert "forks.steps_s 0.7 s left out" in capsys.readouterr().out
    assert read_metrics(root / "metrics" / "forks.json")["applies"] is False


def test_a_fork_that_leaves_too_little_to_judge_is_left_out_and_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    root = workspace(tmp_path, model)
    stage.run(params_of(steps_s=[0.04, 0.3], where_s=0.2, run_guidance_s=0.2), root)
    printed = capsys.readouterr().out
    assert "forks.steps_s 0.3 s left out: less than forks.judged_s = 0.5 s is left" in printed
    assert set(read_table(FORKS, root / "data" / "forks.parquet")["step"]) == {0, 2}
    assert stage.run(params_of(steps_s=[0.3]), root) is None
    assert "no fork of forks.steps_s leaves" in str(read_metrics(root / "metrics" / "forks.json")["reason"])


@pytest.mark.parametrize(
    ("fields", "n", "reason"),
    [
        (
            {"pairs": [["energetic", "calm"]]},
            12,
            "no pair of forks.pairs is among the emotions of the prompts",
        ),
        ({}, 4, "fewer than 6 pairs of wordings share a slot"),
    ],
)
def test_where_forks_do_not_apply_the_stage_says_why_and_writes_empty_tables(
    fields: dict[str, Any],
    n: int,
    reason: str,
    tmp_path: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
):
    root = workspace(tmp_path, model, n=n)
    assert stage.run(params_of(**fields), root) is None
    assert reason in capsys.readouterr().out
    metrics = read_metrics(root / "metrics" / "forks.json")
    assert metrics["applies"] is False
    assert reason in str(metrics["reason"])
    assert read_table(FORKS, root / "data" / "forks.parquet").empty
    for name in ("shares", "places", "factors"):
        assert (root / "metrics" / f"forks_{name}.csv").read_text().count("\n") == 1


def test_a_model_that_prepends_its_text_is_told(tmp_path: Path, model: Path):
    prompts = read_table(PROMPTS, workspace(tmp_path, model) / "data" / "prompts.csv")
    pairs, melody = params_of().forks.pairs, {"model_type": "musicgen_melody"}
    slots, reason = comparable_slots(prompts, pairs, melody, "forks.pairs")
    assert slots == []
    assert "prepends its text" in reason


def test_a_change_of_the_sampling_makes_tasks_stale(tmp_path: Path, model: Path):
    root = workspace(tmp_path, model)
    params = params_of()
    source = catalog.find(params.model, root)
    info = catalog.describe(source, params.model)
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv")
    slots, _ = comparable_slots(prompts, params.forks.pairs, source.checkpoint.config, "forks.pairs")

    def prints(given: Params) -> set[str]:
        tasks = stage.plan_tasks(given, root, info, slots, stage.parts_of(given, info))
        return {task.fingerprint for task in tasks}

    hotter = replace(params, generate=replace(params.generate, temperature=0.9))
    stricter = replace(params, forks=replace(params.forks, margin=0.2))
    assert prints(params).isdisjoint(prints(hotter))
    assert prints(params) == prints(stricter)
