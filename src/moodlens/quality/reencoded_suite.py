"""The suite of the re-encoded states: complete, finite, of their site's width, sound by their own tests."""

from dataclasses import dataclass
from itertools import product

import pandas as pd

from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tables import NEUTRAL, REENCODED, SELFTESTS, SWAPS, Column, Table
from moodlens.contracts.tensors import CONDITIONS, MODELS, forced_limit
from moodlens.params.pipeline import Params
from moodlens.quality.builder import SMALLEST, View, extend, limit
from moodlens.quality.measured import READABLE
from moodlens.quality.suites import REPEAT, hookpoints_of, tally, width_of
from moodlens.store.tables import values

AGAIN = "Delete data/reencoded and run `dvc repro reencode`"


@dataclass(frozen=True)
class ReencodedData:
    """The tables of data/reencoded, and the state of its files: file, state."""

    index: pd.DataFrame
    swaps: pd.DataFrame
    selftests: pd.DataFrame
    shards: pd.DataFrame


def reencoded_suite(data: ReencodedData, clips: pd.DataFrame, params: Params, model: ModelInfo) -> list[View]:
    """Return the views: rows, the grid of readings without a hole, swaps, self-tests, files.

    Args:
        data: what lies in data/reencoded.
        clips: table CLIPS.
        params: of the run.
        model: the model that made the clips.
    """
    asked = params.reencode
    layers = range(model.n_layers) if asked.layers == "all" else asked.layers
    points = hookpoints_of(asked.sites, layers)
    steps_of = dict(zip(values(clips, "clip_id"), values(clips, "n_steps"), strict=True))
    grid = product(steps_of, MODELS, CONDITIONS, points)
    expected = ["/".join(place) for place in grid]
    frame = data.index.assign(
        clips__n_steps=[steps_of.get(clip, 0) for clip in values(data.index, "clip_id")],
        site__width=[width_of(name.split(".")[0], model) for name in values(data.index, "hookpoint")],
    )
    crossed = frame["hookpoint"].str.startswith("cross_attention.")
    silent = crossed & (frame["condition"] == "null")
    table = extend(
        limit(REENCODED, hookpoint={"allowed": tuple(points)}, norm_mean={"low": SMALLEST}),
        Column("clips__n_steps", "int", "decoder steps of the clip"),
        Column("site__width", "int", "width of the site"),
    )
    equal = {"n_steps": "clips__n_steps", "width": "site__width"}
    views = [View(table, frame.loc[~silent], REPEAT, equal=equal)]
    if silent.any():
        named = Table("null_text", REENCODED.key, limit(REENCODED, norm_mean={"high": 0.0}).columns)
        views.append(View(named, frame.loc[silent], "Null text adds exactly nothing: correct the capture"))
    views.append(View(*tally("complete", "row_id", expected, values(data.index, "row_id"), 1, 1), AGAIN))
    emotions = tuple(name for name in dict.fromkeys(values(data.swaps, "swapped_emotion")))
    others = data.swaps.assign(
        changed=(data.swaps["emotion"] != data.swaps["swapped_emotion"]).astype("int64"),
    )
    swaps = extend(
        limit(SWAPS, swapped_emotion={"allowed": tuple(e for e in emotions if e != NEUTRAL)}),
        Column("changed", "int", "1 where the text's emotion is another than the clip's", low=1, high=1),
    )
    views.append(View(swaps, others, AGAIN))
    views.append(
        View(*tally("swapped", "clip_id", list(steps_of), values(data.swaps, "clip_id"), 1, 1), AGAIN)
    )
    tests = limit(SELFTESTS, forced_difference={"high": forced_limit(asked.tolerance, params.model.dtype)})
    views.append(View(tests, data.selftests, "Teacher forcing is broken for this model: report it"))
    files = (
        Column("file", "str", "stored tensors, relative to data/", unique=True),
        Column("state", "str", "whether the file is whole", allowed=(READABLE,)),
    )
    views.append(View(Table("shards", "file", files), data.shards, AGAIN))
    return views
