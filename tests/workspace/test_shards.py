"""Stored tensors by shard: one row per clip in the order of the table, whatever that order is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.store.shards import write_shard
from moodlens.workspace.design import open_workspace
from moodlens.workspace.shards import by_shard, shard_path, tensors_of
from tests.stages.planted import plant, planted_params


@pytest.fixture
def clips(tmp_path: Path) -> pd.DataFrame:
    """Six clips in two shards whose tensor holds the number of the clip, in an order of their own."""
    for shard in (0, 1):
        values = np.arange(3 * shard, 3 * shard + 3, dtype=np.float32)[:, None]
        write_shard(shard_path(tmp_path, "made", "part", shard), {"x": values})
    table = pd.DataFrame({"number": range(6), "shard": [0, 0, 0, 1, 1, 1], "row": [0, 1, 2, 0, 1, 2]})
    return table.sample(frac=1, random_state=3)


def test_rows_follow_the_clips(tmp_path: Path, clips: pd.DataFrame):
    for part in by_shard(tmp_path, clips, "made", "part", ["x"]):
        assert part.tensors["x"][:, 0].tolist() == part.clips["number"].tolist()
        assert part.clips["number"].tolist() == clips["number"].iloc[part.positions].tolist()
        assert list(part.clips.columns) == list(clips.columns)


def test_all_shards_together_are_in_the_order_of_the_table(tmp_path: Path, clips: pd.DataFrame):
    plant(tmp_path, "random", planted_params())
    tensors = tensors_of(open_workspace(tmp_path), clips, "made", "part", ["x"])
    assert tensors["x"][:, 0].tolist() == clips["number"].tolist()


def test_a_shard_that_lacks_clips_is_one_line(tmp_path: Path, clips: pd.DataFrame):
    longer = clips.assign(row=clips["row"] + 1)
    with pytest.raises(
        ContractError, match=r"part-0000\.safetensors, x must hold every clip; got '3 clips, row 3"
    ):
        list(by_shard(tmp_path, longer, "made", "part", ["x"]))
