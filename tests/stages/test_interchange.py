"""Stage `interchange` on a tiny model: its tables, its resumption, what it freezes, where it is refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from moodlens.backends import catalog
from moodlens.base.errors import ContractError
from moodlens.contracts.tables import INTERCHANGE, PROMPTS, SCORES
from moodlens.params.pipeline import Params, parse_params
from moodlens.stages.interchange import stage
from moodlens.store.shards import read_shard
from moodlens.store.tables import read_metrics, read_table, write_metrics
from moodlens.use.discovery import find
from moodlens.workspace.judged_pairs import FAMILY_JUDGE, comparable_slots
from tests.stages.test_forks import model as model_of_forks
from tests.stages.test_forks import workspace

ROOT = Path(__file__).parents[2]

model = model_of_forks
FIELDS: dict[str, Any] = {
    "pairs": [["happy", "sad"]], "sites": ["residual", "cross_attention"], "n_windows": 2, "n_seeds": 2,
    "n_draws": 3, "judged_s": 0.5, "block_clips": 8, "rows_per_task": 4, "n_permutations": 99,
}  # fmt: skip
N_SLOTS, N_UNITS, N_PLACES = 12, 6, 3 * 3


def params_of(**fields: object) -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["generate"]["duration_s"] = 0.6
    raw["interchange"] |= FIELDS | fields
    raw["compute"] = {"workers": 1, "threads": 1}
    return parse_params(raw)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    root = workspace(tmp_path_factory.mktemp("interchange"), model)
    assert stage.run(params_of(), root) is not None
    return root


def test_tables_and_metrics_of_a_run(done: Path):
    scores = read_table(SCORES, done / "data" / "interchange_scores.parquet")
    assert len(scores) == N_SLOTS * N_PLACES
    # two layers: the last residual is the model's output and no place
    assert sorted(set(scores["hookpoint"])) == ["cross_attention.0", "cross_attention.1", "residual.0"]
    plays = read_table(INTERCHANGE, done / "data" / "interchange.parquet")
    assert len(plays) == 6 * N_SLOTS * 2 + (15 - 6 + 3) * N_UNITS
    assert plays["row_id"].is_unique
    metrics: dict[str, Any] = read_metrics(done / "metrics" / "interchange.json")
    assert metrics["applies"]
    assert metrics["judge"] == FAMILY_JUDGE
    assert (metrics["n_units"], metrics["n_continuations"]) == (N_UNITS, len(plays))
    assert metrics["use"]["verdict"] in ("weak", "none", "undecided")
    assert pd.read_csv(done / "metrics" / "interchange_places.csv").shape[0] == N_PLACES
    arms = pd.read_csv(done / "metrics" / "interchange_arms.csv")
    assert {"mediated", "wording", "seed", "random"} <= set(arms["arm"])


def test_each_unit_is_tested_where_the_other_half_searched(done: Path):
    scores = read_table(SCORES, done / "data" / "interchange_scores.parquet")
    plays = read_table(INTERCHANGE, done / "data" / "interchange.parquet")
    section = params_of().interchange
    found = find(scores, section.analysis_seed, section.n_permutations, section.confidence)
    for (pair, unit), rows in plays.groupby(["pair", "unit"]):
        place = found.chosen[1 - found.half_of[str(pair), str(unit)]]
        assert set(rows["hookpoint"]) == {place.hookpoint}
        assert set(rows["first"]) == {place.columns["first"]}


def test_a_second_run_keeps_its_tasks_and_changes_the_verdict_only(
    done: Path, monkeypatch: pytest.MonkeyPatch
):
    before = (done / "data" / "interchange.parquet").read_bytes()

    def refuse(task: object) -> None:
        raise AssertionError("a finished task ran again")

    monkeypatch.setattr(stage, "run_search", refuse)
    monkeypatch.setattr(stage, "run_trial", refuse)
    stage.run(params_of(margin=0.2), done)
    assert (done / "data" / "interchange.parquet").read_bytes() == before


def test_other_directions_or_places_make_the_test_stale(done: Path):
    params = params_of()
    source = catalog.find(params.model, done)
    info = catalog.describe(source, params.model)
    prompts = read_table(PROMPTS, done / "data" / "prompts.csv")
    slots, _ = comparable_slots(prompts, params.interchange.pairs, {}, "interchange.pairs")
    scores = read_table(SCORES, done / "data" / "interchange_scores.parquet")
    found = find(scores, 0, 99, 0.95)
    searching = stage.search_tasks(params, done, info, slots)

    def prints(given: Params, chosen: Any = found) -> set[str]:
        fixed = stage.fixed_by(given, searching, chosen)
        return {task.fingerprint for task in stage.trial_tasks(given, done, info, slots, chosen, fixed)}

    assert prints(params) == prints(params_of(margin=0.2))
    assert prints(params).isdisjoint(prints(params_of(n_directions=1)))
    other = next(one.place for one in found.candidates if one.place not in found.chosen)
    assert prints(params).isdisjoint(prints(params, replace(found, chosen=(other, other))))


def test_halves_that_chose_one_place_share_their_directions_and_others_do_not(done: Path):
    params = params_of()
    source = catalog.find(params.model, done)
    info = catalog.describe(source, params.model)
    prompts = read_table(PROMPTS, done / "data" / "prompts.csv")
    slots, _ = comparable_slots(prompts, params.interchange.pairs, {}, "interchange.pairs")
    searching = stage.search_tasks(params, done, info, slots)
    scores = read_table(SCORES, done / "data" / "interchange_scores.parquet")
    found = find(scores, 0, 99, 0.95)
    places = [one.place for one in found.candidates if one.place.steps is None]
    one, other = stage.fixed_by(params, searching, replace(found, chosen=(places[0], places[0])))
    assert np.array_equal(one.nulls, other.nulls)
    assert not np.array_equal(one.basis, other.basis)
    for fixed in (one, other):
        assert np.abs(one.nulls @ fixed.basis.T).max() < 1e-4 * np.abs(one.nulls).max()
    norms = [read_shard(task.displaced)["residual.0/norm"] for task in searching]
    assert np.linalg.norm(one.nulls, axis=1) == pytest.approx(np.concatenate(norms).mean(), rel=1e-4)
    one, other = stage.fixed_by(params, searching, replace(found, chosen=(places[0], places[1])))
    assert not np.array_equal(one.nulls, other.nulls)


@pytest.mark.parametrize(
    ("fields", "n", "reason"),
    [
        ({"pairs": [["energetic", "calm"]]}, 12, "no pair of interchange.pairs is among the emotions"),
        ({}, 4, "fewer than 6 pairs of wordings share a slot"),
        ({"judged_s": 0.7}, 12, "clips are shorter than interchange.judged_s = 0.7 s"),
    ],
)
def test_where_interchange_does_not_apply_the_stage_says_why_and_writes_empty_tables(
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
    metrics = read_metrics(root / "metrics" / "interchange.json")
    assert metrics["applies"] is False
    assert reason in str(metrics["reason"])
    assert read_table(INTERCHANGE, root / "data" / "interchange.parquet").empty
    for name in ("places", "arms", "factors"):
        assert (root / "metrics" / f"interchange_{name}.csv").read_text().count("\n") == 1


def test_a_model_whose_states_no_text_moves_ends_its_chapter_and_not_the_run(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    """The text path is cut in both layers of the tiny model."""
    root = workspace(tmp_path, model)
    home = root / "models" / "organism"
    shutil.copytree(home, home / "memory")
    params = params_of()
    params = replace(params, model=replace(params.model, id=catalog.CUT))
    weights = catalog.find(params.model, root).weights_sha256
    manifest = {"model": {"weights_sha256": weights}}
    write_metrics(manifest, root / "data" / "activations" / "manifest.json")
    assert stage.run(params, root) is None
    said = capsys.readouterr().out
    assert "interchange does not apply: at" in said
    assert "gaps between emotions must not all be zero" in said
    assert read_metrics(root / "metrics" / "interchange.json")["applies"] is False
    assert read_table(INTERCHANGE, root / "data" / "interchange.parquet").empty


def test_other_weights_than_those_of_the_clips_are_refused(tmp_path: Path, model: Path):
    root = workspace(tmp_path, model)
    weights = root / "models" / "organism" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ContractError, match=r"model\.id must be the model that made the clips in data/"):
        stage.run(params_of(), root)
