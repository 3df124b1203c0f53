"""Schemas of datasets: columns, tensors with shapes, folders; files without a schema."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.store.dataset_schema import MAX_ENTRIES, schema_of
from moodlens.store.shards import write_shard


def columns(path: Path) -> dict[str, str]:
    schema = schema_of(path)
    assert schema is not None
    return {column["name"]: column["type"] for column in json.loads(schema)["mlflow_colspec"]}


def test_a_table_has_its_columns(tmp_path: Path):
    frame = pd.DataFrame({"clip_id": ["a"], "seed": [1], "rms": [0.5]})
    frame.to_parquet(tmp_path / "clips.parquet")
    frame.to_csv(tmp_path / "clips.csv", index=False)
    assert columns(tmp_path / "clips.parquet")["rms"] == "double"
    assert columns(tmp_path / "clips.csv") == {"clip_id": "str", "seed": "int64", "rms": "float64"}


def test_a_folder_has_the_tensors_of_its_first_file_of_each_kind(tmp_path: Path):
    for shard, clips in enumerate((4, 2)):
        states = np.zeros((clips, 3, 8), dtype=np.float16)
        write_shard(tmp_path / f"shard-{shard:04d}.safetensors", {"residual.1/cond": states})
    write_shard(tmp_path / "summary-0000.safetensors", {"mean": np.zeros((4, 8), dtype=np.float32)})
    (tmp_path / "manifest.json").write_text("{}")
    assert columns(tmp_path) == {
        "shard-0000.safetensors: residual.1/cond": "F16 (4, 3, 8)",
        "summary-0000.safetensors: mean": "F32 (4, 8)",
    }


def test_a_long_schema_is_cut_and_says_so(tmp_path: Path):
    write_shard(tmp_path / "a.safetensors", {f"t{i}": np.zeros(1, dtype=np.float32) for i in range(300)})
    names = list(columns(tmp_path / "a.safetensors"))
    assert len(names) == MAX_ENTRIES + 1
    assert names[-1] == f"... and {300 - MAX_ENTRIES} more"


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 40, *(bytes([len(json), *[0] * 7]) + json for json in (b"{bad}", b"[1]", b'{"a": {}}'))],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
def test_a_damaged_file_has_no_schema(content: bytes, suffix: str, tmp_path: Path):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    assert schema_of(path) is None


def test_other_files_and_absent_ones_have_none(tmp_path: Path):
    (tmp_path / "metrics.json").write_text("{}")
    assert schema_of(tmp_path / "metrics.json") is None
    assert schema_of(tmp_path / "absent") is None
