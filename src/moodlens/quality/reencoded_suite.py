"""The suite of the re-encoded states: complete, finite, as wide as their site, with passed self-tests."""

from dataclasses import dataclass
from itertools import product

import pandas as pd

from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tables import NEUTRAL, REENCODED, SELFTESTS, SWAPS, Column
from moodlens.contracts.tensors import CONDITIONS, MODELS, forced_limit
from moodlens.params.pipeline import Params
from moodlens.quality.activation_suite import hookpoints_of, null_text_view, state_view
from moodlens.quality.derived_views import count_view, files_view
from moodlens.quality.rules import SMALLEST, View, extend, limit
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
    """Return the views: rows, completeness of clip x model x condition x hookpoint, swaps, self-tests, files.

    Args:
        data: the tables and files of data/reencoded.
        clips: table CLIPS.
        params: of the run.
        model: the model that made the clips.
    """
    settings, index = params.reencode, data.index
    points = hookpoints_of(settings.sites, settings.layers, model)
    clip_ids = list(dict.fromkeys(values(clips, "clip_id")))
    expected = ["/".join(names) for names in product(clip_ids, MODELS, CONDITIONS, points)]
    live = limit(REENCODED, hookpoint={"allowed": tuple(points)}, norm_mean={"low": SMALLEST})
    silent = limit(REENCODED, norm_mean={"high": 0.0})
    is_null = index["hookpoint"].str.startswith("cross_attention.") & (index["condition"] == "null")
    with_text = state_view(index.loc[~is_null], live, clips, model, {})
    wrong = "Null text adds exactly nothing: correct the capture"
    null_text = null_text_view(index.loc[is_null], silent, wrong)
    swaps, swapped_clips = _swaps_view(data.swaps), values(data.swaps, "clip_id")
    largest = forced_limit(settings.tolerance, params.model.dtype)
    return [
        with_text,
        *([null_text] if len(null_text.frame) else []),
        count_view("complete", "row_id", expected, values(index, "row_id"), AGAIN),
        swaps,
        count_view("swapped", "clip_id", clip_ids, swapped_clips, AGAIN),
        View(
            limit(SELFTESTS, forced_difference={"high": largest}),
            data.selftests,
            "Teacher forcing is broken for this model: report it",
        ),
        files_view(data.shards, AGAIN),
    ]


def _swaps_view(swaps: pd.DataFrame) -> View:
    """One row per clip: the text it got must be of another emotion, and not neutral."""
    emotions = tuple(name for name in dict.fromkeys(values(swaps, "swapped_emotion")) if name != NEUTRAL)
    frame = swaps.assign(changed=(swaps["emotion"] != swaps["swapped_emotion"]).astype("int64"))
    table = extend(
        limit(SWAPS, swapped_emotion={"allowed": emotions}),
        Column("changed", "int", "1 where the text's emotion is another than the clip's", low=1, high=1),
    )
    return View(table, frame, AGAIN)
