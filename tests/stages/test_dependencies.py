"""dvc.yaml: every stage depends on exactly the code it imports, and reads only parameters that exist."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import grimp
import pytest
import yaml

from moodlens.params.pipeline import Params
from moodlens.stages import STAGES
from moodlens.store.code_fingerprint import NO_RESULT, closure, imports, rooms_of, stage_module

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
UNSEEN = {"compute"}  # results do not depend on workers and threads; a change must not re-run anything


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("moodlens", exclude_type_checking_imports=True, cache_dir=None)


def test_the_pipeline_has_exactly_the_stages_of_the_package():
    assert tuple(PIPELINE) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_rooms_it_stands_on(stage: str):
    listed = [dep for dep in PIPELINE[stage]["deps"] if dep.startswith("src/")]
    source = ROOT / "src"
    assert listed == [f"src/{room}" for room in rooms_of(stage_module(stage, source), source)]
    assert "constraints.txt" in PIPELINE[stage]["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_that_grimp_finds_lies_in_a_room_of_the_stage(stage: str, graph: grimp.ImportGraph):
    """Independent of our own closure: another tool's graph, each file against the folders in dvc.yaml."""
    module = stage_module(stage, ROOT / "src")
    listed = [Path(dep) for dep in PIPELINE[stage]["deps"] if dep.startswith("src/")]
    for name in graph.find_upstream_modules(module) | {module}:
        path = Path("src", *name.split("."))
        path = path if (ROOT / path).is_dir() else path.with_suffix(".py")
        exempt = name in NO_RESULT or name.startswith("moodlens.params")
        inside = any(path == room or room in path.parents for room in listed)
        assert exempt or inside, f"{name} is imported by {stage} and lies in none of its rooms"


@pytest.mark.parametrize(
    ("room", "reruns", "spared"),
    [
        ("plots", {"report"}, set(STAGES) - {"report"}),
        ("stats", {"signal"}, {"generate", "reencode", "embed"}),
    ],
)
def test_an_edit_reruns_what_stands_on_the_room_and_no_more(room: str, reruns: set[str], spared: set[str]):
    stand = {stage for stage in STAGES if f"src/moodlens/{room}" in PIPELINE[stage]["deps"]}
    assert reruns <= stand
    assert stand.isdisjoint(spared)


@pytest.mark.parametrize("stage", STAGES)
def test_our_closure_agrees_with_grimp(stage: str, graph: grimp.ImportGraph):
    module = stage_module(stage, ROOT / "src")
    theirs = graph.find_upstream_modules(module) | {module}
    ours = closure(module, ROOT / "src")
    packages = {name for name in ours if (ROOT / "src" / Path(*name.split("."))).is_dir()}
    assert theirs - packages <= ours
    assert ours - packages <= theirs


@pytest.mark.parametrize("stage", STAGES)
def test_every_parameter_listed_exists_and_the_stage_lists_its_own_section(stage: str):
    known = {
        f"{section.name}.{key.name}"
        for section in fields(Params)
        if is_dataclass(section.type)
        for key in fields(section.type)
    }
    listed = {name for name in PIPELINE[stage].get("params", []) if isinstance(name, str)}  # of params.yaml
    whole = {section.name for section in fields(Params)} & listed
    listed = (listed - whole) | {name for name in known if name.split(".")[0] in whole}
    assert listed <= known
    own = {name for name in known if name.startswith(f"{stage}.")}
    assert own <= listed, "a changed parameter of the stage's own section must re-run it"


def test_a_new_import_is_seen(tmp_path: Path):
    package = tmp_path / "moodlens"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from moodlens import b\n    return b\n")
    (package / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from moodlens import c\n"
    )
    (package / "c.py").write_text("")
    assert imports("moodlens.a", tmp_path) == {"moodlens", "moodlens.b"}
    assert closure("moodlens.a", tmp_path) == {"moodlens", "moodlens.a", "moodlens.b"}


def test_a_pipeline_with_its_own_runner_does_not_stand_on_the_stage_shell(tmp_path: Path):
    for name in ("__init__", "base/__init__", "plots/__init__", "stages/__init__"):
        (tmp_path / "moodlens" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "moodlens" / f"{name}.py").write_text("")
    (tmp_path / "moodlens" / "stages" / "shell.py").write_text("from moodlens import base\n")
    (tmp_path / "moodlens" / "plots" / "run.py").write_text("")
    shell = ["moodlens/base", "moodlens/plots", "moodlens/stages/shell.py"]
    assert rooms_of("moodlens.plots", tmp_path) == shell
    assert rooms_of("moodlens.plots", tmp_path, "moodlens.plots.run") == ["moodlens/plots"]


def test_the_main_pipeline_does_not_hang_on_the_training_of_the_embedded_model():
    """The main pipeline would train for hours if it saw the stages that make its weights."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        files = {Path(stage.path).relative_to(ROOT).as_posix() for stage in repo.index.stages}
    assert files == {"dvc.yaml"}, "models/organism is a DVC repository of its own"
