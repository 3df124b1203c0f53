"""Stage `relate` on planted workspaces: what the organism shows, what shuffled music must not show."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import CLIPS
from moodlens.params.pipeline import Params
from moodlens.stages import relate
from moodlens.store.run_record import Run
from moodlens.store.tables import read_metrics, read_table, write_table
from tests.stages.planted import plant, planted_params


@pytest.fixture(autouse=True)
def logged(monkeypatch) -> list[Run]:
    runs: list[Run] = []
    stage = relate.run
    monkeypatch.setattr(relate, "run", lambda *given: runs.append(stage(*given)))
    return runs


def params_of(**prompts: object) -> Params:
    params = planted_params(**prompts)
    return replace(params, relate=replace(params.relate, n_permutations=499, n_bootstrap=200))


@pytest.fixture(scope="module", params=["organism", "shuffled", "random"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(request.param)
    plant(root, request.param, params_of())
    return request.param, root


def test_music_that_follows_the_prompt_shows_and_music_that_does_not_is_not_taken_for_it(made, logged):
    kind, root = made
    relate.run(params_of(), root)
    found = read_metrics(root / "metrics" / "relate.json")
    assert (found["n_prompts"], found["n_wordings"], found["n_clips"]) == (64, 36, 128)
    assert found["acoustic_match_low"] <= found["acoustic_match"] <= found["acoustic_match_high"]
    assert set(found["acoustic_match_by_emotion"]) == {"happy", "sad", "calm", "energetic"}
    planted = kind == "organism"
    assert (found["acoustic_match_p"] < 0.05) == planted
    # The states of every planted model hold the clip's music, whatever the label: no claim on emotion.
    assert found["distance"]["p"] == found["within_prompts"]["p"] == 0.002
    assert found["within_prompts"]["r2"] > found["within_prompts"]["tokens_r2"]
    # The shuffled model's states read emotion off the text: beyond the sound, and not in the music.
    assert (found["matched"]["p"] < 0.01) == (kind == "shuffled") or planted
    (run,) = logged
    assert run.metrics["acoustic_match"] == pytest.approx(found["acoustic_match"], rel=1e-4)
    assert {child.name for child in run.children} == {f"relate/{name}" for name in relate.FAMILIES}


def test_tables_hold_every_place_and_descriptor(made):
    _, root = made
    if not (root / "metrics").is_dir():
        relate.run(params_of(), root)
    rows = pd.read_csv(root / "metrics" / "relate_layers.csv")
    assert rows["family"].tolist() == ["layers"] * 3 + ["twin_layers"] * 3 + ["tokens", "text", "words"]
    ours, twin = (rows.loc[rows["family"] == name, "mantel"].tolist() for name in ("layers", "twin_layers"))
    assert ours != twin
    assert rows.loc[rows["family"] == "text", "mantel_given_text"].isna().all()
    assert rows.loc[rows["family"].isin(["text", "words"]), "effect_matched"].isna().all()
    table = pd.read_csv(root / "metrics" / "relate_descriptors.csv")
    assert len(table) == 9 * 11
    assert table.loc[table["family"] == "text", "r2_within_prompt"].isna().all()
    assert table.loc[table["family"] == "tokens", "r2_within_prompt"].notna().all()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path):
    root, params = tmp_path, params_of(n_per_emotion=8)
    plant(root, "organism", params)
    seen = []
    for _ in range(2):
        relate.run(params, root)
        seen.append({path.name: path.read_bytes() for path in (root / "metrics").iterdir()})
    assert seen[0] == seen[1]


def test_one_clip_per_prompt_has_no_reading_within_prompts(tmp_path: Path):
    params = params_of()
    plant(tmp_path, "organism", params)
    path = tmp_path / "data" / "clips.parquet"
    clips = read_table(CLIPS, path)
    write_table(clips[clips["seed"] == 0].reset_index(drop=True), CLIPS, path)
    relate.run(params, tmp_path)
    found = read_metrics(tmp_path / "metrics" / "relate.json")
    assert found["n_clips"] == 64
    assert "within_prompts" not in found
    assert "between_wordings" in found


def test_more_folds_than_wordings_are_refused(tmp_path: Path):
    params = params_of(n_per_emotion=3)
    plant(tmp_path, "organism", params)
    few = replace(params, relate=replace(params.relate, n_folds=30))
    with pytest.raises(ContractError, match=r"relate\.n_folds must not exceed the 12 wordings .* got 30"):
        relate.run(few, tmp_path)
