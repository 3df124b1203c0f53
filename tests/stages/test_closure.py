"""dvc.yaml: every stage depends on exactly the code it imports, and reads only parameters that exist."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import grimp
import pytest
import yaml

from moodlens.contracts.params import Params
from moodlens.stages import STAGES
from moodlens.stages.closure import closure, code_deps, imports, is_code

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
UNSEEN = {"compute"}  # results do not depend on workers and threads; a change must not re-run anything


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("moodlens", exclude_type_checking_imports=True, cache_dir=None)


def test_the_pipeline_has_exactly_the_stages_of_the_package():
    assert tuple(PIPELINE) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_the_import_closure(stage: str):
    listed = [dep for dep in PIPELINE[stage]["deps"] if is_code(dep)]
    assert listed == code_deps(stage, ROOT), "run `make deps`"


@pytest.mark.parametrize("stage", STAGES)
def test_our_closure_agrees_with_grimp(stage: str, graph: grimp.ImportGraph):
    module = f"moodlens.stages.{stage}"
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


def test_the_main_pipeline_does_not_hang_on_the_training_of_the_embedded_model():
    """An output of models/organism/dvc.yaml among our deps would make a fresh clone train for hours."""
    organism = yaml.safe_load((ROOT / "models" / "organism" / "dvc.yaml").read_text())["stages"]
    outs = {
        f"models/organism/{out if isinstance(out, str) else next(iter(out))}"
        for stage in organism.values()
        for out in stage["outs"]
    }
    deps = {dep for stage in PIPELINE.values() for dep in stage["deps"]}
    assert outs.isdisjoint(deps)
