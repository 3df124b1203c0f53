"""Stage `inputs`: the files that the parameters name, and the stamp of the model, before any work."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from moodlens.backends import catalog
from moodlens.base.errors import ContractError, UsageError
from moodlens.params.pipeline import Params
from moodlens.stages import inputs
from moodlens.stages.shell import load_params
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).parents[2]
MARKER = Path("data") / "inputs.txt"
LOADING = ("generate", "reencode", "embed", "forks", "interchange", "sae", "latents")
"""Stages that load the model."""
LOADS = re.compile(r"catalog\.load\(|\(ModelTask\)")
"""A call, or a task that makes it in a worker (`workspace.model_tasks`)."""


def params_with(table: str = "mine.csv", model_id: str = "organism") -> Params:
    params = load_params(ROOT)
    return replace(
        params,
        prompts=replace(params.prompts, table_path=table),
        model=replace(params.model, id=model_id),
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "weights")


@pytest.fixture
def home(tmp_path: Path, tiny: Path) -> Path:
    (tmp_path / "mine.csv").write_text("caption\n")
    shutil.copytree(tiny, tmp_path / "weights")
    shutil.copytree(tiny, tmp_path / catalog.ORGANISM)
    return tmp_path


def stamp(root: Path) -> str:
    return json.loads((root / inputs.STAMP).read_text())["model"]


@pytest.fixture
def copy(home: Path) -> Path:
    root = home / ".dvc" / "tmp" / "exps" / "tmpx"
    root.mkdir(parents=True)
    return root


def test_the_marker_does_not_depend_on_what_was_found(home: Path):
    written = set()
    for model_id in ("organism", "weights"):
        inputs.run(params_with(model_id=model_id), home)
        written.add((home / MARKER).read_bytes())
    assert len(written) == 1


def test_the_stamp_is_the_digest_of_the_model_and_of_nothing_else(home: Path):
    for model_id in ("organism", "weights", "organism-random"):
        params = params_with(model_id=model_id)
        inputs.run(params, home)
        assert stamp(home) == catalog.find(params.model, home).weights_sha256
    inputs.run(params_with(model_id="weights"), home)
    first = stamp(home)
    inputs.run(params_with(model_id="organism"), home)
    assert stamp(home) == first, "the same files under another name are the same model"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_overwritten_file_of_a_local_folder_changes_the_stamp(home: Path, name: str):
    params = params_with(model_id="weights")
    inputs.run(params, home)
    before, path = stamp(home), home / "weights" / name
    changes = {
        "model.safetensors": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "config.json": lambda content: content.replace(b'attention_heads": 2', b'attention_heads": 4'),
        "tokenizer.json": lambda content: content.replace(b'"unk_id": 2', b'"unk_id": 1'),
    }
    content = path.read_bytes()
    path.write_bytes(changes[name](content))
    assert path.read_bytes() != content
    inputs.run(params, home)
    assert stamp(home) != before


def test_every_stage_that_loads_the_model_depends_on_the_stamp_and_the_stamp_is_made_anew():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    depending = {name for name, stage in stages.items() if inputs.STAMP.as_posix() in stage["deps"]}
    assert depending == {*LOADING, "prompts"}, "prompts refuses what the model cannot support"
    assert stages["inputs"]["always_changed"] is True
    loading = {
        path.relative_to(ROOT / "src/moodlens/stages").parts[0].removesuffix(".py")
        for path in (ROOT / "src/moodlens/stages").rglob("*.py")
        if LOADS.search(path.read_text(encoding="utf-8"))
    }
    assert loading - {"calibrate"} == set(LOADING)


def test_a_table_that_exists_nowhere(home: Path):
    with pytest.raises(ContractError, match=r"prompts\.table_path must name a file; got 'none\.csv'"):
        inputs.run(params_with("none.csv"), home)
    assert not (home / MARKER).exists()


def test_an_untracked_table_in_a_queued_run(copy: Path):
    with pytest.raises(UsageError, match=r"prompts\.table_path must be tracked by git"):
        inputs.run(params_with(), copy)
    assert not (copy / MARKER).exists()


@pytest.mark.parametrize("prefix", ["", "audiocraft:"])
def test_an_untracked_model_folder_in_a_queued_run(home: Path, copy: Path, prefix: str):
    shutil.copy(home / "mine.csv", copy)
    with pytest.raises(UsageError, match=r"model\.id must be tracked by git, .*`dvc add weights`"):
        inputs.run(params_with(model_id=f"{prefix}weights"), copy)
    assert not (copy / MARKER).exists()
    if not prefix:
        inputs.run(params_with(model_id=str(home / "weights")), copy)
        assert (copy / MARKER).exists()
