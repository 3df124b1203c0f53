"""The stage: balanced, deterministic, from the grammar and from a table of captions."""

from dataclasses import replace
from pathlib import Path

import pytest

from moodlens.base.errors import ContractError, UsageError
from moodlens.contracts.tables import PROMPTS
from moodlens.params.pipeline import Params
from moodlens.stages import prompts
from moodlens.stages.shell import load_params
from moodlens.store.tables import read_table, values
from tests.stages.prompted import write_prompts

ROOT = Path(__file__).parents[2]
MOODS = ("happy", "joyful", "sad", "melancholic")
CAPTIONS = [f"\"a {mood} song, number {i}\",\"['{mood}', 'slow']\"" for mood in MOODS for i in range(4)]
CAPTIONS = ["caption,aspect_list", *CAPTIONS, "a happy and sad song,\"['happy', 'sad']\""]


def params_with(**changes: object) -> Params:
    params = load_params(ROOT)
    return replace(params, prompts=replace(params.prompts, **changes))


def run(root: Path, **changes: object) -> bytes:
    write_prompts(params_with(**changes), root)
    return (root / "data" / "prompts.csv").read_bytes()


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.csv"
    path.write_text("\n".join(CAPTIONS), encoding="utf-8")
    return path


def test_the_default_design_is_balanced_distinct_and_splits_whole_wordings(tmp_path: Path):
    run(tmp_path)
    rows = read_table(PROMPTS, tmp_path / "data" / "prompts.csv")
    params = load_params(ROOT).prompts
    assert rows["emotion"].value_counts().to_dict() == dict.fromkeys(params.emotions, params.n_per_emotion)
    assert rows["text"].is_unique
    assert rows.groupby("wording")["split"].nunique().max() == 1
    assert set(rows["split"]) == {"train", "val", "test"}
    assert set(rows["set"]) == set(params.sets)
    assert values(rows, "prompt_id")[:2] == ["happy-00", "happy-01"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_prompts(tmp_path: Path):
    first = run(tmp_path / "a")
    assert first == run(tmp_path / "b")
    assert first != run(tmp_path / "c", seed=1)


def test_neutral_prompts_have_no_emotion(tmp_path: Path):
    run(tmp_path, sets=("generic", "neutral"), n_per_emotion=4)
    rows = read_table(PROMPTS, tmp_path / "data" / "prompts.csv")
    neutral = rows[rows["emotion"] == "neutral"]
    assert values(neutral, "prompt_id") == [f"neutral-{n:02d}" for n in range(4)]
    assert neutral["valence"].isna().all()


@pytest.mark.parametrize("sets", [("table",), ("generic", "table"), ("table", "generic", "neutral")])
def test_a_caption_table_shares_the_prompts_with_the_other_sets(tmp_path: Path, captions: Path, sets: tuple):
    chosen = {"emotions": ("happy", "sad"), "n_per_emotion": 5, "sets": sets, "table_path": str(captions)}
    first = run(tmp_path, **chosen)
    rows = read_table(PROMPTS, tmp_path / "data" / "prompts.csv")
    counts = rows[rows["emotion"] != "neutral"].groupby(["emotion", "set"]).size().to_dict()
    n_table = 5 if sets == ("table",) else 2
    assert counts["happy", "table"] == counts["sad", "table"] == n_table
    assert counts.get(("sad", "generic"), 0) == 5 - n_table
    assert "a happy and sad song" not in values(rows, "text")
    assert first == run(tmp_path, **chosen)


def test_a_table_path_may_be_relative_to_the_project(tmp_path: Path, captions: Path):
    run(tmp_path, emotions=("happy", "sad"), n_per_emotion=2, sets=("table",), table_path=captions.name)


@pytest.mark.parametrize(
    ("changes", "kind", "line"),
    [
        (
            {"text_column": "txt"},
            ContractError,
            r"captions\.csv must have the column 'txt' \(prompts\.text_column\)",
        ),
        ({"n_per_emotion": 9}, ContractError, r"at least 9 captions that match 'happy' .*; got 8"),
        ({"emotions": ("happy", "angry")}, ContractError, "match 'angry' and no other emotion; got 0"),
        ({"table_path": "none.csv"}, ContractError, r"prompts\.table_path must name a file"),
        ({"emotions": ("happy",)}, UsageError, r"prompts\.emotions must hold at least two emotions"),
        ({"sets": ("neutral",)}, UsageError, r"prompts\.sets must hold a set that carries emotion"),
        ({"sets": ("generic",), "n_per_emotion": 100_000}, ContractError, "distinct texts"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_keeps_the_old_table(
    tmp_path: Path, captions: Path, changes: dict, kind: type[Exception], line: str
):
    lawful = {
        "emotions": ("happy", "sad"),
        "n_per_emotion": 4,
        "sets": ("table",),
        "table_path": str(captions),
    }
    before = run(tmp_path, **lawful)
    with pytest.raises(kind, match=line) as caught:
        run(tmp_path, **(lawful | changes))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "data" / "prompts.csv").read_bytes() == before


def test_what_the_model_lacks_is_refused_and_keeps_the_old_table(tmp_path: Path):
    params = load_params(ROOT)
    params = replace(params, model=replace(params.model, id=str(ROOT / "models" / "organism")))
    prompts.run(params, tmp_path)
    before = (tmp_path / "data" / "prompts.csv").read_bytes()
    beyond = replace(params, generate=replace(params.generate, layers=(0, 6)))
    with pytest.raises(UsageError, match=r"generate\.layers must hold layers of 0 to 5; got '?6"):
        prompts.run(beyond, tmp_path)
    few = replace(params, relate=replace(params.relate, n_folds=40))
    with pytest.raises(UsageError, match=r"relate\.n_folds must not exceed the 36 wordings"):
        prompts.run(few, tmp_path)
    assert (tmp_path / "data" / "prompts.csv").read_bytes() == before
