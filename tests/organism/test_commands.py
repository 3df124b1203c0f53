"""The family's dvc.yaml, its parameters, its model card, its errors."""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml

from moodlens.backends.catalog import EMBEDDED, ORGANISM
from moodlens.base.errors import UsageError
from moodlens.organism import __main__ as entry
from moodlens.organism import card, commands
from moodlens.organism.recipe import Recipe, load_recipe, parse_recipe
from moodlens.store.code_fingerprint import closure, path_of, rooms_of

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
HOME = ROOT / "models" / "organism"
PIPELINE = yaml.safe_load((HOME / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
ENTRY = "moodlens.organism.__main__"
ROOM = "moodlens.organism."


def raw() -> dict[str, dict]:
    return yaml.safe_load((HOME / "params.yaml").read_text())


def outs_of(stage: str) -> dict[str, Mapping[str, Any]]:
    """Path of an output -> how DVC treats it."""
    outs: dict[str, Mapping[str, Any]] = {}
    for out in STAGES[stage]["outs"]:
        outs |= {out: {}} if isinstance(out, str) else out
    return outs


def data_deps_of(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if not dep.startswith(("../../constraints", "src/"))]


def module_of(stage: str) -> str:
    return ROOM + entry.STAGES[stage][0]


def test_the_pipeline_has_exactly_the_stages_of_the_entry_point():
    assert list(STAGES) == list(entry.STAGES)
    (line,) = [part["run"] for part in PIPELINE["vars"]]
    assert line.endswith("python -m moodlens.organism")
    for stage, body in STAGES.items():
        assert body["cmd"] == "${run} " + stage


@pytest.mark.parametrize("stage", entry.STAGES)
def test_the_entry_point_names_a_function_and_all_its_arguments(stage: str):
    module, name, arguments = entry.STAGES[stage]
    parameters = list(signature(getattr(import_module(ROOM + module), name)).parameters)
    assert parameters[:2] == ["recipe", "folder"]
    assert len(parameters) == 2 + len(arguments)


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


def test_card_judge_and_evaluation_are_no_dependencies_of_the_weights():
    training = [stage for stage, (module, _, _) in entry.STAGES.items() if module == "commands"]
    assert len(training) == 12
    for stage in training:
        spared = ("/card.py", "/card_template.py", "/evaluate.py", "/judging.py")
        assert not {dep for dep in STAGES[stage]["deps"] if dep.endswith(spared)}


def test_every_data_dependency_is_made_by_an_earlier_stage():
    made: set[str] = set()
    for stage in STAGES:
        assert set(data_deps_of(stage)) <= made, stage
        assert made.isdisjoint(outs_of(stage)), f"{stage} writes what another stage wrote"
        made |= set(outs_of(stage))


def test_every_model_of_the_catalog_is_made_by_a_stage():
    made = {out for stage in STAGES for out in outs_of(stage)}
    for folder in EMBEDDED.values():
        decoder = (Path(folder) / "decoder.safetensors").relative_to(ORGANISM).as_posix()
        assert decoder in made, folder


def test_git_versions_every_output_that_it_does_not_ignore():
    ignored = (HOME / ".gitignore").read_text().split()
    in_dvc = [
        f"/{out}" for stage in STAGES for out, kind in outs_of(stage).items() if kind.get("cache", True)
    ]
    assert sorted([*in_dvc, "/work"]) == sorted(ignored)


def test_curves_outlive_a_killed_training_and_have_a_plot():
    curves = {out: kind for stage in STAGES for out, kind in outs_of(stage).items() if out.endswith(".csv")}
    assert all(kind == {"cache": False, "persist": True} for kind in curves.values())
    assert [path for plot in PIPELINE["plots"] for path in plot] == list(curves)
    assert {f"{name}_curve.csv" for name in card.CURVES} == set(curves)
    assert set(curves) <= set(data_deps_of("card"))


def test_only_the_codec_is_frozen():
    assert [stage for stage, body in STAGES.items() if body.get("frozen")] == ["codec"]


def test_the_card_names_every_model_of_the_family():
    assert entry.SMALL_SEEDS == card.SMALL_SEEDS
    assert {*entry.SIBLINGS, "music-only"} == set(card.MODELS)


def test_the_shipped_model_card_is_what_its_command_writes():
    text = card.card_text(load_recipe(HOME / "params.yaml"), card.results_in(HOME))
    assert (HOME / "README.md").read_text() == text


@pytest.mark.parametrize("stage", STAGES)
def test_params_of_a_stage_exist(stage: str):
    full = load_recipe(HOME / "params.yaml")
    sections = {part.name for part in fields(full)}
    known = sections | {f"{name}.{key.name}" for name in sections for key in fields(getattr(full, name))}
    assert set(STAGES[stage]["params"]) <= known


@pytest.mark.parametrize("name", entry.SIBLINGS)
def test_a_sibling_depends_on_its_own_regime_only(name: str):
    assert [key for key in STAGES[name]["params"] if key.startswith("family")] == [f"family.{name}"]


def test_the_file_of_params_has_the_sections_of_the_recipe():
    assert list(raw()) == [part.name for part in fields(Recipe)]


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
    wrong["siblings"]["n_steps"] = "many"
    with pytest.raises(UsageError, match=r"siblings\.n_steps must be a whole number; got 'many'"):
        parse_recipe(wrong)


def test_a_stage_before_its_turn_says_what_is_missing(tmp_path: Path):
    with pytest.raises(UsageError, match=r"must exist; got 'nothing'\. Run `dvc repro`"):
        commands.tokens(load_recipe(HOME / "params.yaml"), tmp_path)


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
