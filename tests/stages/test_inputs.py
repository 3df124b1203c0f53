"""Stage `inputs`: the files that the parameters name, checked before any work."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from moodlens.base.errors import ContractError, UsageError
from moodlens.params.pipeline import Params
from moodlens.stages import inputs
from moodlens.stages.shell import load_params

ROOT = Path(__file__).parents[2]
MARKER = Path("data") / "inputs.txt"


def params_with(table: str = "mine.csv", model_id: str = "organism") -> Params:
    params = load_params(ROOT)
    return replace(
        params,
        prompts=replace(params.prompts, table_path=table),
        model=replace(params.model, id=model_id),
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "mine.csv").write_text("caption\n")
    (tmp_path / "weights").mkdir()
    return tmp_path


@pytest.fixture
def copy(home: Path) -> Path:
    root = home / ".dvc" / "tmp" / "exps" / "tmpx"
    root.mkdir(parents=True)
    return root


def test_the_marker_does_not_depend_on_what_was_found(home: Path):
    written = set()
    for model_id in ("organism", "facebook/musicgen-small", "weights"):
        inputs.run(params_with(model_id=model_id), home)
        written.add((home / MARKER).read_bytes())
    assert len(written) == 1


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
    inputs.run(params_with(model_id=f"{prefix}{home / 'weights'}"), copy)
    assert (copy / MARKER).exists()
