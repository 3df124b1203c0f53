"""A stage refuses a file that is not as the stage before it left it."""

import json
from pathlib import Path

import pytest

from moodlens.base.errors import ContractError
from moodlens.store.run_record import Record, record_path, write_record
from moodlens.store.stage_outputs import output_digests, require_outputs

PIPELINE = """
stages:
  first:
    outs: [data/one.csv, data/folder, data/runs/first.json]
    metrics: [{metrics/one.json: {cache: false}}]
  second:
    deps: [data/folder, src/code.py]
    params: [x.y, {metrics/one.json: [gates]}]
    outs: [data/runs/second.json]
  third:
    deps: ["${x.table}", data/folder/deep/b.json]
"""
FILES = ("data/one.csv", "data/folder/a.json", "data/folder/deep/b.json", "metrics/one.json")
PARAMS = {"x": {"table": "data/one.csv"}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    for name in (*FILES, "data/folder/shard-0000.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    write_record(tmp_path, Record("first", 0, 0, "", "", {}, (), outputs=output_digests(tmp_path, "first")))
    return tmp_path


def test_outputs_are_all_files_that_have_no_checksum_of_their_own(root: Path):
    assert set(output_digests(root, "first")) == set(FILES)
    assert output_digests(root, "second") == output_digests(root, "absent") == {}


@pytest.mark.parametrize(
    ("stage", "needed"),
    [("second", FILES[1:]), ("third", (FILES[0], FILES[2])), ("first", ())],
)
def test_only_what_a_stage_depends_on_is_compared(root: Path, stage: str, needed: tuple[str, ...]):
    require_outputs(root, stage, PARAMS)
    for name in FILES:
        content = (root / name).read_text()
        (root / name).write_text(content[:-1] + "x")
        if name in needed:
            with pytest.raises(ContractError, match=f"{name} must be as stage first wrote it") as caught:
                require_outputs(root, stage, PARAMS)
            assert "dvc repro --force --single-item first" in str(caught.value)
        else:
            require_outputs(root, stage, PARAMS)
        (root / name).write_text(content)


def test_what_has_no_record_is_not_compared_and_a_damaged_record_is_named(root: Path):
    path = record_path(root, "first")
    record = json.loads(path.read_text())
    (root / FILES[1]).write_text("other")
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "outputs"}))
    require_outputs(root, "second", PARAMS)
    path.write_text(json.dumps(record)[:80])
    with pytest.raises(ContractError, match="must be the record of a stage"):
        require_outputs(root, "second", PARAMS)
    path.unlink()
    require_outputs(root, "second", PARAMS)
