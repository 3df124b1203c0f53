"""The suites: what each dataset must be, beyond the columns of its contract.

Each function takes frames and thresholds and returns the views of one suite (see `builder.View`). What a
whole dataset must satisfy (balance, leakage, completeness) is a derived frame with one row per emotion,
wording or expected row, so that the failed row has a name.
"""

from collections.abc import Sequence
from itertools import product

import pandas as pd

from moodlens.base.units import frames_for, steps_for
from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.params import Params
from moodlens.contracts.tables import (
    ACOUSTICS,
    ACTIVATIONS,
    CLIPS,
    EMBEDDINGS,
    Column,
    Table,
)
from moodlens.contracts.tensors import ENCODERS, hookpoint
from moodlens.quality.builder import SMALLEST, View, extend, limit

REPEAT = "Run `dvc repro` to make it again; if it comes back, report a bug"
READABLE = "readable"


def audio_suite(
    clips: pd.DataFrame, files: pd.DataFrame, prompts: pd.DataFrame, params: Params, model: ModelInfo
) -> list[View]:
    """Return the views of the audio: files as measured, clips per emotion, seeds per prompt.

    Args:
        clips: table CLIPS.
        files: what the files themselves say, one row per clip: clip_id, state (readable, missing, truncated),
            file_rate_hz, file_duration_s, file_peak, file_rms, file_finite_fraction.
        prompts: table PROMPTS.
    """
    asked, check = params.generate, params.check
    n_frames = frames_for(asked.duration_s, model.frame_rate_hz)
    exactly = {"low": n_frames, "high": n_frames}
    steps = dict.fromkeys(("low", "high"), steps_for(n_frames, model.n_codebooks))
    rate = {"low": model.sample_rate_hz, "high": model.sample_rate_hz}
    near = {"low": (n_frames - 1) / model.frame_rate_hz, "high": (n_frames + 1) / model.frame_rate_hz}
    table = extend(
        limit(
            CLIPS,
            n_frames=exactly,
            n_steps=steps,
            sample_rate_hz=rate,
            duration_s=near,
            rms={"low": check.min_rms},
            clipped_fraction={"high": check.max_clipped_fraction},
        ),
        Column("state", "str", "whether the file can be read to its end", allowed=(READABLE,)),
        Column("file_rate_hz", "int", "sampling rate of the file", unit="Hz", nullable=True, **rate),
        Column("file_duration_s", "float", "length of the file", unit="s", nullable=True, **near),
        Column("file_rms", "float", "root mean square in the file", nullable=True, low=check.min_rms),
        Column("file_finite_fraction", "float", "share of finite samples", nullable=True, low=1, high=1),
        Column("prompts__emotion", "str", "emotion of the clip's prompt"),
    )
    frame = clips.merge(files, on="clip_id", how="left", validate="m:1")
    frame["prompts__emotion"] = frame["prompt_id"].map(
        prompts.drop_duplicates("prompt_id").set_index("prompt_id")["emotion"]
    )
    emotions = pd.DataFrame({"emotion": params.prompts.emotions})
    emotions["n_clips"] = [int((clips["emotion"] == name).sum()) for name in emotions["emotion"]]
    per_prompt = pd.DataFrame({"prompt_id": prompts["prompt_id"].drop_duplicates()})
    per_prompt["n_clips"] = [int((clips["prompt_id"] == name).sum()) for name in per_prompt["prompt_id"]]
    silent = "The clip is silent: change generate.seed or lower check.min_rms"
    again = "Remove the clip's shard from data/codes and run `dvc repro generate` again"
    return [
        View(
            Table("audio", CLIPS.key, table.columns),
            frame,
            again,
            {
                "rms": silent,
                "file_rms": silent,
                "clipped_fraction": "Change generate.seed or raise check.max_clipped_fraction",
            },
            equal={"emotion": "prompts__emotion"},
        ),
        View(
            _counts("emotions", "emotion", "n_clips", check.min_clips_per_emotion, None),
            emotions,
            "Raise prompts.n_per_emotion or generate.n_seeds, or lower check.min_clips_per_emotion",
        ),
        View(
            _counts("prompts", "prompt_id", "n_clips", asked.n_seeds, asked.n_seeds),
            per_prompt,
            "Run `dvc repro generate`",
        ),
    ]


def activations_suite(
    index: pd.DataFrame, clips: pd.DataFrame, params: Params, model: ModelInfo
) -> list[View]:
    """Return the views of the activations: rows, and the grid clip x hookpoint x half without a hole.

    Args:
        index: table ACTIVATIONS.
        clips: table CLIPS.
    """
    asked, check = params.generate, params.check
    layers = range(model.n_layers) if asked.layers == "all" else asked.layers
    halves = ("cond", "uncond") if asked.half == "both" else (asked.half,)
    points = [hookpoint(site, layer) for site, layer in product(asked.sites, layers)]
    expected = [f"{clip}/{point}/{half}" for clip, point, half in product(clips["clip_id"], points, halves)]
    table = extend(
        limit(
            ACTIVATIONS,
            hookpoint={"allowed": tuple(points)},
            half={"allowed": halves},
            width={"low": model.d_model, "high": model.d_model},
            norm_mean={"low": SMALLEST},
            dead_fraction={"high": check.max_dead_fraction},
            step_change={"low": check.min_step_change},
        ),
        Column("clips__n_steps", "int", "decoder steps of the clip"),
    )
    frame = index.copy()
    steps = clips.drop_duplicates("clip_id").set_index("clip_id")["n_steps"]
    frame["clips__n_steps"] = frame["clip_id"].map(steps).fillna(0).astype("int64")
    overwritten = (
        "The states do not change over the steps: a hook overwrites instead of appending; "
        "correct the capture and run `dvc repro generate`"
    )
    return [
        View(
            table,
            frame,
            REPEAT,
            {
                "step_change": overwritten,
                "n_steps": "Steps were lost: correct the capture and run `dvc repro generate`",
                "dead_fraction": "Look at the layer, or raise check.max_dead_fraction",
            },
            equal={"n_steps": "clips__n_steps"},
        ),
        _grid_view(
            expected, index["row_id"], "A layer of the clip was not recorded: run `dvc repro generate`"
        ),
    ]


def embeddings_suite(
    index: pd.DataFrame, prompts: pd.DataFrame, model: ModelInfo, n_words: int
) -> list[View]:
    """Return the views of the embeddings: rows as wide as their encoder, one per prompt and encoder.

    Args:
        index: table EMBEDDINGS.
        n_words: size of the bag-of-words vocabulary.
    """
    widths = {"bow": n_words, "text": model.d_text, "projected": model.d_model, "twin": model.d_text}
    expected = [f"{prompt}/{encoder}" for prompt, encoder in product(prompts["prompt_id"], ENCODERS)]
    frame = index.copy()
    frame["encoder__width"] = frame["encoder"].map(widths).fillna(0).astype("int64")
    table = extend(
        limit(EMBEDDINGS, encoder={"allowed": ENCODERS}, norm={"low": SMALLEST}),
        Column("encoder__width", "int", "width of the encoder"),
    )
    return [
        View(table, frame, REPEAT, equal={"width": "encoder__width"}),
        _grid_view(expected, index["row_id"], "Run `dvc repro embed`"),
    ]


def acoustics_suite(acoustics: pd.DataFrame, clips: pd.DataFrame) -> list[View]:
    """Return the views of the acoustics: descriptors in their lawful ranges, one row per clip."""
    return [
        View(ACOUSTICS, acoustics, "Listen to the clip; run `dvc repro acoustics` to measure it again"),
        _grid_view(list(clips["clip_id"]), acoustics[ACOUSTICS.key], "Run `dvc repro acoustics`"),
    ]


def _grid_view(expected: Sequence[str], found: pd.Series, next_step: str) -> View:
    """One row per row that a dataset must have, with how often it has it."""
    counts = found.value_counts()
    frame = pd.DataFrame({"row_id": pd.Series(expected, dtype="str")})
    frame["n_rows"] = frame["row_id"].map(counts).fillna(0).astype("int64")
    return View(_counts("complete", "row_id", "n_rows", 1, 1), frame, next_step)


def _counts(name: str, key: str, column: str, low: int, high: int | None) -> Table:
    columns = (Column(key, "str", f"the {key}"), Column(column, "int", "how many", low=low, high=high))
    return Table(name, key, columns)
