"""The suite of the activations: every hookpoint of every clip recorded once, whole, finite and changing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pandas as pd

from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tables import ACTIVATIONS, Column, Table
from moodlens.contracts.tensors import WHOLE_SITES, hookpoint
from moodlens.params.pipeline import Params
from moodlens.quality.derived_views import count_view, files_view
from moodlens.quality.rules import REPEAT, SMALLEST, View, extend, limit
from moodlens.store.tables import values


def activations_suite(
    index: pd.DataFrame, clips: pd.DataFrame, shards: pd.DataFrame, params: Params, model: ModelInfo
) -> list[View]:
    """Return the views of the activations: rows, completeness of clip x hookpoint x half, files.

    Args:
        index: table ACTIVATIONS.
        clips: table CLIPS.
        shards: one row per stored file of codes and states: file, state (readable, missing, unreadable).
        params: of the run.
        model: the model that made the clips.
    """
    settings, check = params.generate, params.check
    halves = ("cond", "uncond") if settings.half == "both" else (settings.half,)
    points = hookpoints_of(settings.sites, settings.layers, model)
    clip_ids = dict.fromkeys(values(clips, "clip_id"))
    expected = [f"{clip}/{point}/{half}" for clip, point, half in product(clip_ids, points, halves)]
    live = limit(
        ACTIVATIONS,
        hookpoint={"allowed": tuple(points)},
        half={"allowed": halves},
        norm_mean={"low": SMALLEST},
        dead_fraction={"high": check.max_dead_fraction},
        step_change={"low": check.min_step_change},
    )
    advice = {
        "step_change": "The states do not change over the steps: a hook overwrites instead of appending; "
        "correct the capture and run `dvc repro generate`",
        "n_steps": "Steps were lost: correct the capture and run `dvc repro generate`",
        "dead_fraction": "Look at the layer, or raise check.max_dead_fraction",
    }
    silent = limit(ACTIVATIONS, absmax={"high": 0.0})
    is_null = (index["site"] == "cross_attention") & (index["half"] == "uncond")
    mixed_up = "Null text adds exactly nothing: the halves are mixed up, correct the capture"
    with_text = state_view(index.loc[~is_null], live, clips, model, advice)
    null_text = null_text_view(index.loc[is_null], silent, mixed_up)
    return [
        *([view for view in (with_text, null_text) if len(view.frame)] or [with_text]),
        count_view(
            "complete",
            "row_id",
            expected,
            values(index, "row_id"),
            "A layer of the clip was not recorded once: run `dvc repro generate`",
        ),
        files_view(shards, "Delete the file and run `dvc repro generate`; whole shards are kept"),
    ]


def state_view(
    index: Any, table: Table, clips: pd.DataFrame, model: ModelInfo, advice: Mapping[str, str]
) -> View:
    """Return the view of recorded states: each row has the steps of its clip and the width of its site.

    Args:
        index: frame of one row per state: clip_id, hookpoint, n_steps, width, and the columns of `table`.
        table: contract of the rows.
        clips: table CLIPS.
        model: the model that made the clips.
        advice: column -> next step, where it differs from running the stage again.
    """
    steps_of = dict(zip(values(clips, "clip_id"), values(clips, "n_steps"), strict=True))
    sites = [name.split(".")[0] for name in values(index, "hookpoint")]
    frame = index.assign(
        clips__n_steps=[steps_of.get(clip, 0) for clip in values(index, "clip_id")],
        site__width=[_width_of(site, model) for site in sites],
    )
    extended = extend(
        table,
        Column("clips__n_steps", "int", "decoder steps of the clip"),
        Column("site__width", "int", "width of the site"),
    )
    return View(extended, frame, REPEAT, advice, {"n_steps": "clips__n_steps", "width": "site__width"})


def null_text_view(index: Any, table: Table, next_step: str) -> View:
    """Return the view of cross-attention under null text, which adds exactly 0; `table` states that limit."""
    return View(replace(table, name="null_text"), index, next_step)


def hookpoints_of(sites: Sequence[str], layers: Sequence[int] | str, model: ModelInfo) -> list[str]:
    """Return the hookpoints that a capture of `sites` records.

    Args:
        sites: as in params.yaml.
        layers: decoder layers, or "all". Sites of the whole decoder have layer 0 only.
        model: gives the number of layers.
    """
    numbers = range(model.n_layers) if isinstance(layers, str) else layers
    return [hookpoint(site, layer) for site in sites for layer in ([0] if site in WHOLE_SITES else numbers)]


def _width_of(site: str, model: ModelInfo) -> int:
    return model.n_codebooks * model.codebook_size if site == "logits" else model.d_model
