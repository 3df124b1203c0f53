"""The suites: what each dataset must be, beyond the columns of its contract.

Each function takes frames and thresholds and returns the views of one suite (see `builder.View`). What a
whole dataset must satisfy (balance, leakage, completeness) is a derived frame with one row per emotion,
wording or expected row, so that the failed row has a name.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pandas as pd

from moodlens.base.units import frames_for, steps_for
from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tables import (
    ACOUSTICS,
    ACTIVATIONS,
    CLIPS,
    EMBEDDINGS,
    Column,
    Table,
)
from moodlens.contracts.tensors import ENCODERS, WHOLE_SITES, hookpoint
from moodlens.params.pipeline import Params
from moodlens.quality.builder import SMALLEST, View, extend, limit
from moodlens.quality.measured import READABLE
from moodlens.store.tables import values

REPEAT = "Run `dvc repro` to make it again; if it comes back, report a bug"
NO_PROMPT = "(no such prompt)"


def audio_suite(
    clips: pd.DataFrame, files: pd.DataFrame, prompts: pd.DataFrame, params: Params, model: ModelInfo
) -> list[View]:
    """Return the views of the audio: files as measured, clips per emotion, seeds per prompt.

    Args:
        clips: table CLIPS.
        files: what the files themselves say, in the rows of `clips`: clip_id, state (readable, missing,
            unreadable), file_rate_hz, file_duration_s, file_rms, file_finite_fraction; NaN if not readable.
        prompts: table PROMPTS.
    """
    asked, check = params.generate, params.check
    n_frames = frames_for(asked.duration_s, model.frame_rate_hz)
    rate = model.sample_rate_hz
    shortest, longest = (n_frames - 1) / model.frame_rate_hz, (n_frames + 1) / model.frame_rate_hz
    table = extend(
        limit(
            CLIPS,
            n_frames=exactly(n_frames),
            n_steps=exactly(steps_for(n_frames, model.n_delays)),
            sample_rate_hz=exactly(rate),
            duration_s={"low": shortest, "high": longest},
            rms={"low": check.min_rms},
            clipped_fraction={"high": check.max_clipped_fraction},
        ),
        Column("prompts__emotion", "str", "emotion of the clip's prompt"),
        Column("state", "str", "whether the file can be read to its end", allowed=(READABLE,)),
        _of_file("file_rate_hz", "sampling rate of the file", "Hz", rate, rate),
        _of_file("file_duration_s", "length of the file", "s", shortest, longest),
        _of_file("file_rms", "root mean square of the file's samples", "", check.min_rms, None),
        _of_file("file_finite_fraction", "share of finite samples", "", 1, 1),
    )
    emotion_of = dict(zip(values(prompts, "prompt_id"), values(prompts, "emotion"), strict=True))
    frame = pd.concat([clips, files.drop(columns="clip_id")], axis="columns")
    frame["prompts__emotion"] = [emotion_of.get(prompt, NO_PROMPT) for prompt in values(clips, "prompt_id")]
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
            *tally(
                "emotions",
                "emotion",
                params.prompts.emotions,
                values(clips, "emotion"),
                check.min_clips_per_emotion,
            ),
            "Raise prompts.n_per_emotion or generate.n_seeds, or lower check.min_clips_per_emotion",
        ),
        View(
            *tally(
                "prompts",
                "prompt_id",
                list(emotion_of),
                values(clips, "prompt_id"),
                asked.n_seeds,
                asked.n_seeds,
            ),
            "Run `dvc repro generate`",
        ),
    ]


def activations_suite(
    index: pd.DataFrame, clips: pd.DataFrame, shards: pd.DataFrame, params: Params, model: ModelInfo
) -> list[View]:
    """Return the views of the activations: rows, the grid clip x hookpoint x half without a hole, the files.

    Args:
        index: table ACTIVATIONS.
        clips: table CLIPS.
        shards: one row per stored file of codes and states: file, state (readable, missing, unreadable).
    """
    asked, check = params.generate, params.check
    layers = range(model.n_layers) if asked.layers == "all" else asked.layers
    halves = ("cond", "uncond") if asked.half == "both" else (asked.half,)
    points = hookpoints_of(asked.sites, layers)
    steps_of = dict(zip(values(clips, "clip_id"), values(clips, "n_steps"), strict=True))
    expected = [f"{clip}/{point}/{half}" for clip, point, half in product(steps_of, points, halves)]
    table = extend(
        limit(
            ACTIVATIONS,
            hookpoint={"allowed": tuple(points)},
            half={"allowed": halves},
            norm_mean={"low": SMALLEST},
            dead_fraction={"high": check.max_dead_fraction},
            step_change={"low": check.min_step_change},
        ),
        Column("clips__n_steps", "int", "decoder steps of the clip"),
        Column("site__width", "int", "width of the site"),
    )
    frame = index.assign(
        clips__n_steps=[steps_of.get(clip, 0) for clip in values(index, "clip_id")],
        site__width=[width_of(site, model) for site in values(index, "site")],
    )
    overwritten = (
        "The states do not change over the steps: a hook overwrites instead of appending; "
        "correct the capture and run `dvc repro generate`"
    )
    null = (frame["site"] == "cross_attention") & (frame["half"] == "uncond")
    silent = View(
        limit(replace(ACTIVATIONS, name="null_text"), absmax={"high": 0.0}),
        frame.loc[null],
        "Null text adds exactly nothing: the halves are mixed up, correct the capture",
    )
    live = View(
        table,
        frame.loc[~null],
        REPEAT,
        {
            "step_change": overwritten,
            "n_steps": "Steps were lost: correct the capture and run `dvc repro generate`",
            "dead_fraction": "Look at the layer, or raise check.max_dead_fraction",
        },
        equal={"n_steps": "clips__n_steps", "width": "site__width"},
    )
    return [
        *([view for view in (live, silent) if len(view.frame)] or [live]),
        View(
            *tally("complete", "row_id", expected, values(index, "row_id"), 1, 1),
            "A layer of the clip was not recorded once: run `dvc repro generate`",
        ),
        View(
            Table(
                "shards",
                "file",
                (
                    Column("file", "str", "stored tensors, relative to data/", unique=True),
                    Column("state", "str", "whether the file is whole", allowed=(READABLE,)),
                ),
            ),
            shards,
            "Delete the file and run `dvc repro generate`; whole shards are kept",
        ),
    ]


def embeddings_suite(
    index: pd.DataFrame, prompts: pd.DataFrame, shapes: pd.DataFrame, model: ModelInfo, n_words: int
) -> list[View]:
    """Return the views of the embeddings: rows as wide as their encoder, one per prompt and encoder.

    Args:
        index: table EMBEDDINGS.
        prompts: table PROMPTS.
        shapes: the stored tensors, one row per encoder: encoder, n_rows, width.
        n_words: size of the bag-of-words vocabulary.
    """
    widths = {"bow": n_words, "text": model.d_text, "projected": model.d_model, "twin": model.d_text}
    expected = [f"{prompt}/{encoder}" for prompt, encoder in product(values(prompts, "prompt_id"), ENCODERS)]
    frame = index.assign(encoder__width=[widths.get(name, 0) for name in values(index, "encoder")])
    table = extend(
        limit(EMBEDDINGS, encoder={"allowed": ENCODERS}, norm={"low": SMALLEST}),
        Column("encoder__width", "int", "width of the encoder"),
    )
    return [
        View(table, frame, REPEAT, equal={"width": "encoder__width"}),
        View(*tally("complete", "row_id", expected, values(index, "row_id"), 1, 1), "Run `dvc repro embed`"),
        View(
            Table(
                "tensors",
                "encoder",
                (
                    Column("encoder", "str", "the tensor's name", unique=True, allowed=ENCODERS),
                    Column(
                        "n_rows",
                        "int",
                        "rows of the tensor",
                        low=len(prompts),
                        high=len(prompts),
                    ),
                    Column("width", "int", "width of the tensor"),
                    Column("encoder__width", "int", "width of the encoder"),
                ),
            ),
            shapes.assign(encoder__width=[widths.get(name, 0) for name in values(shapes, "encoder")]),
            "Run `dvc repro embed`",
            equal={"width": "encoder__width"},
        ),
    ]


def acoustics_suite(acoustics: pd.DataFrame, clips: pd.DataFrame) -> list[View]:
    """Return the views of the acoustics: descriptors in their lawful ranges, one row per clip."""
    key = ACOUSTICS.key
    return [
        View(ACOUSTICS, acoustics, "Listen to the clip; run `dvc repro acoustics` to measure it again"),
        View(
            *tally("complete", key, values(clips, key), values(acoustics, key), 1, 1),
            "Run `dvc repro acoustics`",
        ),
    ]


def hookpoints_of(sites: Sequence[str], layers: Sequence[int]) -> list[str]:
    """Return the hookpoints that a capture of sites and layers records.

    >>> hookpoints_of(["mlp", "logits"], [1, 2])
    ['mlp.1', 'mlp.2', 'logits.0']
    """
    return [hookpoint(site, layer) for site in sites for layer in ([0] if site in WHOLE_SITES else layers)]


def width_of(site: str, model: ModelInfo) -> int:
    """Return the width of a site's states."""
    return model.n_codebooks * model.codebook_size if site == "logits" else model.d_model


def exactly(value: float) -> dict[str, float]:
    """Return the limits of a column that holds one value only."""
    return {"low": value, "high": value}


def _of_file(name: str, meaning: str, unit: str, low: float, high: float | None) -> Column:
    return Column(name, "float", meaning, unit=unit, nullable=True, low=low, high=high)


def tally(
    name: str, key: str, expected: Sequence[str], found: Sequence[str], low: int, high: int | None = None
) -> tuple[Table, pd.DataFrame]:
    """One row per name that must occur in a dataset, with how often it does, and the contract of that."""
    counts = Counter(found)
    frame = pd.DataFrame({key: pd.Series(expected, dtype="str")})
    frame["n_rows"] = [counts[name] for name in expected]
    count = Column("n_rows", "int", "rows of the dataset", low=low, high=high)
    return Table(name, key, (Column(key, "str", f"the {key}"), count)), frame
