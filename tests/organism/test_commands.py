"""The organism's pipeline end to end on a tiny model, its dvc.yaml, its parameters, its errors."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from transformers import MusicgenForConditionalGeneration

from moodlens.base.errors import UsageError
from moodlens.organism import __main__ as entry
from moodlens.organism import architecture, card, commands, evaluate
from moodlens.organism.recipe import Recipe, load_recipe, parse_recipe
from moodlens.store.code_fingerprint import closure, path_of, rooms_of
from tests.tiny_model import TINY_SHAPE, tiny_codec

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
HOME = ROOT / "models" / "organism"
STAGES = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]
ENTRY = "moodlens.organism.__main__"
ROOM = "moodlens.organism."
RUNS = (
    commands.codec,
    commands.tokens,
    commands.text,
    commands.music,
    commands.organism,
    commands.shuffled,
    evaluate.evaluate,
    card.card,
)


def raw() -> dict[str, dict]:
    return yaml.safe_load((HOME / "params.yaml").read_text())


def toy_recipe() -> Recipe:
    full = load_recipe(HOME / "params.yaml")
    few = {"n_steps": 4, "validate_every_steps": 2, "save_every_steps": 2, "warmup_steps": 1}
    return Recipe(
        corpus=replace(full.corpus, n_clips=8, n_held_out=4),
        codec=replace(full.codec, n_pool_clips=4, n_held_out=2, batch_crops=2, plant_step=2, **few),
        text=replace(full.text, batch_captions=8, **few),
        music=replace(full.music, batch_clips=4, stop_step=3, **few),
        organism=replace(full.organism, batch_clips=4, opening_clips=2, stop_step=4, **few),
        shuffled=replace(full.shuffled, batch_clips=4, opening_clips=2, stop_step=4, **few),
        evaluate=replace(
            full.evaluate,
            n_seeds=1,
            prompts_per_emotion=3,
            n_factor_prompts=2,
            n_reference_clips=3,
            n_bootstrap=20,
        ),
    )


def test_every_stage_from_nothing_to_the_model_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commands, "codec_config", lambda: tiny_codec().config)
    monkeypatch.setattr(architecture, "Shape", lambda: TINY_SHAPE)
    recipe = toy_recipe()
    for run in RUNS:
        run(recipe, tmp_path)
    one, other = (
        MusicgenForConditionalGeneration.from_pretrained(p) for p in (tmp_path, tmp_path / "shuffled")
    )
    assert all((one.text_encoder.shared.weight == other.text_encoder.shared.weight).flatten())
    assert not all((one.enc_to_dec_proj.weight == other.enc_to_dec_proj.weight).flatten())
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["organism"]["accuracy_4"]["n_clips"] == 12
    assert metrics["ceiling"]["accuracy_5"]["n_prompts"] == 15
    readme = (tmp_path / "README.md").read_text()
    assert "| classified as prompted: all five |" in readme
    assert "{" not in readme.split("```")[2], "no slot is left unfilled"
    for stage, body in STAGES.items():
        for out in body["outs"]:
            path = out if isinstance(out, str) else next(iter(out))
            assert (tmp_path / path).exists(), f"{stage} promises {path}"


def module_of(stage: str) -> str:
    return ROOM + entry.MODULES[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_own_modules_and_on_the_other_rooms(stage: str):
    """Files within the organism room, so that an edit of the card does not retrain; folders elsewhere."""
    own = {
        name for name in closure(module_of(stage), SOURCE) | closure(ENTRY, SOURCE) if name.startswith(ROOM)
    }
    files = [path_of(name, SOURCE).relative_to(SOURCE).as_posix() for name in own]
    rooms = [room for room in rooms_of(module_of(stage), SOURCE, ENTRY) if room != "moodlens/organism"]
    expected = ["../../constraints.txt", *(f"src/{path}" for path in sorted(files + rooms))]
    assert [dep for dep in STAGES[stage]["deps"] if dep.startswith(("../../constraints", "src/"))] == expected


def test_the_card_and_the_evaluation_are_no_dependencies_of_the_weights():
    for stage in ("codec", "tokens", "text", "music", "organism", "shuffled"):
        assert not {dep for dep in STAGES[stage]["deps"] if dep.endswith(("/card.py", "/evaluate.py"))}


def test_the_entry_point_runs_exactly_the_stages_by_name():
    assert list(STAGES) == list(entry.MODULES) == [run.__name__ for run in RUNS]
    assert [run.__module__ for run in RUNS] == [module_of(stage) for stage in STAGES]
    for stage, body in STAGES.items():
        assert body["cmd"].endswith(f"python -m moodlens.organism {stage}")


def test_the_shipped_model_card_is_what_its_command_writes():
    text = card.card_text(load_recipe(HOME / "params.yaml"), *card.figures_in(HOME))
    assert (HOME / "README.md").read_text() == text


@pytest.mark.parametrize("stage", STAGES)
def test_params_exist_and_a_stage_lists_the_whole_of_its_own_section(stage: str):
    full = load_recipe(HOME / "params.yaml")
    sections = {part.name for part in fields(full)}
    known = sections | {f"{name}.{key.name}" for name in sections for key in fields(getattr(full, name))}
    assert set(STAGES[stage]["params"]) <= known
    assert stage == "card" or {"tokens": "corpus"}.get(stage, stage) in STAGES[stage]["params"]


def test_every_value_in_params_has_a_comment_with_the_section():
    assert set(raw()) == {"corpus", "codec", "text", "music", "organism", "shuffled", "evaluate"}


def test_an_unknown_key_names_the_nearest_one():
    wrong = raw()
    wrong["codec"]["n_step"] = 3
    with pytest.raises(UsageError, match="Did you mean 'n_steps'"):
        parse_recipe(wrong)


def test_a_missing_key_and_a_wrong_type_are_named():
    lacking, wrong = raw(), raw()
    del lacking["corpus"]["seed"]
    with pytest.raises(UsageError, match=r"corpus\.seed must be present"):
        parse_recipe(lacking)
    wrong["organism"]["n_steps"] = "many"
    with pytest.raises(UsageError, match=r"organism\.n_steps must be a whole number; got 'many'"):
        parse_recipe(wrong)


def test_a_stage_before_its_turn_says_what_is_missing(tmp_path: Path):
    with pytest.raises(UsageError, match=r"must exist; got 'nothing'\. Run `dvc repro`"):
        commands.tokens(toy_recipe(), tmp_path)


def test_an_unknown_command_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]):
    assert entry.main(["codek"]) == 2
    assert (
        capsys.readouterr().err.strip()
        == "error: the command must be one name; got 'codek'. Did you mean 'codec'?"
    )


def test_a_command_outside_its_folder_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert entry.main(["card"]) == 2
    assert "Run the organism's commands in models/organism" in capsys.readouterr().err
