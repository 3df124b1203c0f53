"""The suites of the audio: clips and their files, and the acoustic descriptors."""

import pandas as pd

from moodlens.base.units import frames_for, steps_for
from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tables import ACOUSTICS, CLIPS, Column, Table
from moodlens.params.pipeline import Params
from moodlens.quality.derived_views import count_view
from moodlens.quality.rules import View, extend, limit
from moodlens.quality.stored_files import READABLE
from moodlens.store.tables import values

NO_PROMPT = "(no such prompt)"


def audio_suite(
    clips: pd.DataFrame,
    files: pd.DataFrame,
    tokens: pd.DataFrame,
    prompts: pd.DataFrame,
    params: Params,
    model: ModelInfo,
) -> list[View]:
    """Return the views of the audio: clips beside their files, clips per emotion, seeds per prompt.

    Args:
        clips: table CLIPS.
        files: measured from the files, in the order of `clips`: clip_id, state (readable, missing,
            unreadable), file_rate_hz, file_duration_s, file_rms, file_finite_fraction; NaN if not readable.
        tokens: one row per clip: clip_id, distinct_frames (`stored_files.token_variety`).
        prompts: table PROMPTS.
        params: of the run.
        model: the model that made the clips.
    """
    settings, check = params.generate, params.check
    n_frames = frames_for(settings.duration_s, model.frame_rate_hz)
    rate = model.sample_rate_hz
    shortest, longest = (n_frames - 1) / model.frame_rate_hz, (n_frames + 1) / model.frame_rate_hz
    table = extend(
        limit(
            CLIPS,
            n_frames=_exactly(n_frames),
            n_steps=_exactly(steps_for(n_frames, model.n_delays)),
            sample_rate_hz=_exactly(rate),
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
    return [
        View(
            Table("audio", CLIPS.key, table.columns),
            frame,
            "Remove the clip's shard from data/codes and run `dvc repro generate` again",
            {
                "rms": silent,
                "file_rms": silent,
                "clipped_fraction": "Change generate.seed or raise check.max_clipped_fraction",
            },
            equal={"emotion": "prompts__emotion"},
        ),
        _tokens_view(tokens, check.min_distinct_frames),
        count_view(
            "emotions",
            "emotion",
            params.prompts.emotions,
            values(clips, "emotion"),
            "Raise prompts.n_per_emotion or generate.n_seeds, or lower check.min_clips_per_emotion",
            low=check.min_clips_per_emotion,
            high=None,
        ),
        count_view(
            "prompts",
            "prompt_id",
            list(emotion_of),
            values(clips, "prompt_id"),
            "Run `dvc repro generate`",
            low=settings.n_seeds,
            high=settings.n_seeds,
        ),
    ]


def _tokens_view(tokens: pd.DataFrame, least: float) -> View:
    """Return the view of the audio tokens: a clip that repeats one token is no music, however it sounds."""
    columns = (
        Column("clip_id", "str", "the clip", unique=True),
        Column("distinct_frames", "float", "share of frames whose tokens differ", low=least, high=1),
    )
    advice = "Generation is stuck: correct generate.guidance_scale, temperature, top_k or top_p, or the model"
    return View(Table("tokens", "clip_id", columns), tokens, advice)


def acoustics_suite(acoustics: pd.DataFrame, clips: pd.DataFrame) -> list[View]:
    """Return the views of table ACOUSTICS: descriptors within their bounds, one row per clip."""
    key = ACOUSTICS.key
    again = "Run `dvc repro acoustics`"
    return [
        View(ACOUSTICS, acoustics, "Listen to the clip; run `dvc repro acoustics` to measure it again"),
        count_view("complete", key, values(clips, key), values(acoustics, key), again),
    ]


def _exactly(value: float) -> dict[str, float]:
    return {"low": value, "high": value}


def _of_file(name: str, meaning: str, unit: str, low: float, high: float | None) -> Column:
    return Column(name, "float", meaning, unit=unit, nullable=True, low=low, high=high)
