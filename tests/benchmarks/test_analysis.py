"""The larger workspace of the analysis benchmark: new clips of the same prompts; its verdict."""

import pandas as pd
import pytest

from benchmarks.analysis import Cost, further_rows
from benchmarks.process_tree import Measured
from benchmarks.statistics import verdict


def test_copies_are_new_clips_in_further_shards_of_the_same_prompts():
    table = pd.DataFrame(
        {
            "clip_id": ["sad-00-s0", "sad-00-s1"],
            "row_id": ["sad-00-s0/model/own/residual.0", "sad-00-s1/model/own/residual.0"],
            "prompt_id": ["sad-00", "sad-00"],
            "seed": [0, 1],
            "shard": [0, 1],
        }
    )
    found = further_rows(table, 3, n_shards=2)
    assert len(found) == 6
    assert found["clip_id"].is_unique
    assert found["row_id"].is_unique
    assert (found["row_id"].str.split("/").str[0] == found["clip_id"]).all()
    assert found["prompt_id"].unique().tolist() == ["sad-00"]
    assert found["shard"].tolist() == [0, 1, 2, 3, 4, 5]
    pd.testing.assert_frame_equal(found.iloc[:2], table)


def cost(n_clips: int, wall_s: float, peak_gb: float) -> Cost:
    return Cost(n_clips, {name: Measured(wall_s / 2, 1.0, peak_gb, 0, "") for name in ("signal", "probe")})


@pytest.mark.parametrize(
    ("wall_s", "peak_gb", "larger_gb", "failed"),
    [
        (59.0, 0.5, 0.6, []),
        (61.0, 0.5, 0.6, ["stages"]),
        (59.0, 1.9, 2.1, ["peak"]),
        (59.0, 0.5, 0.7, ["flat"]),
    ],
)
def test_every_bar_of_the_stages_can_fail(wall_s, peak_gb, larger_gb, failed):
    row = {"ours_s": 1.0, "theirs_s": 2000.0, "floor_s": 0.5}
    found = verdict(
        dict.fromkeys(("permanova_100", "permanova_500", "probe"), row),
        cost(128, wall_s, peak_gb),
        cost(512, wall_s, larger_gb),
    )
    assert found["failed_bars"] == failed
    assert found["holds"] is (not failed)
