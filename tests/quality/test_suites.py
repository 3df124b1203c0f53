"""Every expectation is made to fail once by a planted fault; the untouched datasets pass all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moodlens.params.pipeline import Params
from moodlens.quality.activation_suite import activations_suite
from moodlens.quality.audio_suite import acoustics_suite, audio_suite
from moodlens.quality.embedding_suite import embeddings_suite
from moodlens.quality.prompt_suite import prompts_suite
from moodlens.quality.rules import View
from moodlens.quality.run import Outcome, render_suite, validate
from tests.quality.datasets import MODEL, N_WORDS, Datasets, lawful_datasets, lawful_params

Fault = Callable[[Datasets], Datasets]


def suites_of(data: Datasets, params: Params) -> Mapping[str, Sequence[View]]:
    return {
        "prompts": prompts_suite(data.prompts, params),
        "audio": audio_suite(data.clips, data.files, data.tokens, data.prompts, params, MODEL),
        "activations": activations_suite(data.activations, data.clips, data.shards, params, MODEL),
        "embeddings": embeddings_suite(data.embeddings, data.prompts, data.shapes, MODEL, N_WORDS),
        "acoustics": acoustics_suite(data.acoustics, data.clips),
    }


def failures(data: Datasets, params: Params, thing: str) -> list[Outcome]:
    """What fails of one view (`suite` or `suite.view`), or of one of its columns (`suite.view.column`)."""
    for suite, views in suites_of(data, params).items():
        for view in views:
            place = suite if view.table.name == suite else f"{suite}.{view.table.name}"
            if thing == place:
                return [outcome for outcome in validate({suite: [view]}) if not outcome.success]
            column = thing.removeprefix(f"{place}.")
            if column in view.table.names:
                few = tuple(c for c in view.table.columns if c.name in (column, view.table.key))
                equal = {name: other for name, other in view.equal.items() if name == column}
                small = replace(view, table=replace(view.table, columns=few), equal=equal)
                return [outcome for outcome in validate({suite: [small]}) if not outcome.success]
    raise AssertionError(f"no such column: {thing}")


def put(name: str, column: str, value: object, row: int = 4) -> Fault:
    """The fault that writes `value` into one cell of a dataset."""

    def plant(data: Datasets) -> Datasets:
        frame = getattr(data, name).copy()
        if isinstance(value, float):
            frame[column] = frame[column].astype("float64")
        frame.loc[row, column] = value
        return replace(data, **{name: frame})

    return plant


def drop(name: str, keep: Callable[[pd.DataFrame], pd.Series], *others: str) -> Fault:
    """The fault that loses rows of a dataset, and the same rows of others."""

    def plant(data: Datasets) -> Datasets:
        rows = keep(getattr(data, name))
        return replace(data, **{n: getattr(data, n)[rows].reset_index(drop=True) for n in (name, *others)})

    return plant


def repeat_row(*names: str) -> Fault:
    """The fault that holds row 4 of some datasets twice."""

    def plant(data: Datasets) -> Datasets:
        frames = {name: getattr(data, name) for name in names}
        return replace(
            data, **{name: pd.concat([f, f.iloc[[4]]], ignore_index=True) for name, f in frames.items()}
        )

    return plant


FAULTS: dict[str, Fault] = {
    "prompts.text must be unique; got 'happy0 piece' (row happy-00": put("prompts", "text", "happy0 piece"),
    "prompts.text_folded must be unique": put("prompts", "text", "Happy0  piece"),
    "prompts.text must not be empty; got ' ' (row sad-01": put("prompts", "text", " "),
    "prompts.text must not be missing": put("prompts", "text", None),
    "prompts.emotion must be one of happy, sad, calm, energetic; got 'joy' (row sad-01": put(
        "prompts", "emotion", "joy"
    ),
    "prompts.emotions.n_prompts must be 3; got 4 (row happy": put("prompts", "emotion", "happy"),
    "prompts.valence must lie in -1 .. 1; got 1.5 (row sad-01": put("prompts", "valence", 1.5),
    "prompts.wordings.n_splits must be 1; got 2 (row sad0": put("prompts", "wording", "sad0"),
    "prompts.wordings.n_emotions must be 1; got 2 (row happy1": put("prompts", "wording", "happy1"),
    "prompts.texts.n_splits must be 1; got 2 (row happy0 piece": put("prompts", "text", "happy0 piece"),
    "prompts.split must be one of train, val, test; got 'dev'": put("prompts", "split", "dev"),
    "prompts.prompt_id must be unique": put("prompts", "prompt_id", "happy-00"),
    "audio.rms must be at least 0.001; got 0.0 (row happy-02-s0": put("clips", "rms", 0.0),
    "audio.tokens.distinct_frames must lie in 0.1 .. 1; got 0.02 (row happy-02-s0": put(
        "tokens", "distinct_frames", 0.02
    ),
    "audio.file_rms must be at least 0.001": put("files", "file_rms", 0.0),
    "audio.clipped_fraction must lie in 0 .. 0.001; got 0.2": put("clips", "clipped_fraction", 0.2),
    "audio.finite_fraction must be 1; got 0.9": put("clips", "finite_fraction", 0.9),
    "audio.file_finite_fraction must be 1": put("files", "file_finite_fraction", 0.9),
    "audio.clip_id must be unique; got 'happy-02-s0'": repeat_row("clips", "files"),
    "audio.rms must not be missing": put("clips", "rms", np.nan),
    "audio.peak must be at least 0; got inf": put("clips", "peak", np.inf),
    "audio.sample_rate_hz must be 16000 Hz; got 32000": put("clips", "sample_rate_hz", 32000),
    "audio.file_rate_hz must be 16000 Hz": put("files", "file_rate_hz", 8000.0),
    "audio.duration_s must lie in 0.98 .. 1.02 s; got 0.5": put("clips", "duration_s", 0.5),
    "audio.file_duration_s must lie in 0.98 .. 1.02 s": put("files", "file_duration_s", 0.5),
    "audio.n_frames must be 50 frames; got 49": put("clips", "n_frames", 49),
    "audio.state must be readable; got 'missing' (row happy-02-s0": put("files", "state", "missing"),
    "audio.emotion must equal prompts.emotion; got 'sad against happy'": put("clips", "emotion", "sad"),
    "audio.emotion must equal prompts.emotion; got 'happy against (no such prompt)'": put(
        "clips", "prompt_id", "x"
    ),
    "audio.emotions.n_rows must be at least 4; got 0 (row calm": drop(
        "clips", lambda f: f["emotion"] != "calm", "files"
    ),
    "audio.prompts.n_rows must be 2; got 1 (row sad-01": drop(
        "clips", lambda f: f["clip_id"] != "sad-01-s1", "files"
    ),
    "audio must have at least 1 row; got '0 rows'": drop("clips", lambda f: f["seed"] > 9, "files"),
    # hook that overwrites: constant over steps
    "activations.step_change must be at least 0.0001; got 0.0 (row happy-01-s0/residual.0/cond": put(
        "activations", "step_change", 0.0
    ),
    # hook that overwrites: one step kept
    "activations.n_steps must equal clips.n_steps; got '1 against 53'": put("activations", "n_steps", 1),
    "activations.complete.n_rows must be 1; got 0 (row sad-01-s1/residual.1/cond": drop(
        "activations", lambda f: f["row_id"] != "sad-01-s1/residual.1/cond"
    ),
    "activations.complete.n_rows must be 1; got 0 (row happy-00-s0/residual.1/cond": drop(
        "activations", lambda f: f["layer"] != 1
    ),
    "activations.row_id must be unique": repeat_row("activations"),
    "activations.half must be cond; got 'uncond'": put("activations", "half", "uncond"),
    "activations.finite_fraction must be 1; got 0.5": put("activations", "finite_fraction", 0.5),
    "activations.norm_mean must not be missing": put("activations", "norm_mean", np.nan),
    "activations.norm_mean must be at least 1e-12; got 0.0": put("activations", "norm_mean", 0.0),
    "activations.norm_max must be at least 0; got inf": put("activations", "norm_max", np.inf),
    "activations.dead_fraction must lie in 0 .. 0.5; got 0.9": put("activations", "dead_fraction", 0.9),
    "activations.width must equal site.width; got '8 against 16'": put("activations", "width", 8),
    "activations.hookpoint must be one of residual.0, residual.1; got 'mlp.9'": put(
        "activations", "hookpoint", "mlp.9"
    ),
    "activations.n_steps must equal clips.n_steps; got '53 against 0'": put("activations", "clip_id", "x"),
    # truncated shard
    "activations.shards.state must be readable; got 'unreadable' (row codes/shard-0001.safetensors": put(
        "shards", "state", "unreadable", 1
    ),
    "embeddings.tensors.width must equal encoder.width; got '7 against 9' (row bow": put(
        "shapes", "width", 7, 0
    ),
    "embeddings.tensors.n_rows must be 12; got 7 (row text": put("shapes", "n_rows", 7, 1),
    "embeddings.complete.n_rows must be 1; got 0 (row happy-00/twin": drop(
        "embeddings", lambda f: f["encoder"] != "twin"
    ),
    "embeddings.norm must be at least 1e-12; got 0.0 (row happy-01/bow": put("embeddings", "norm", 0.0),
    "embeddings.finite_fraction must be 1": put("embeddings", "finite_fraction", 0.5),
    "embeddings.width must equal encoder.width; got '5 against 9'": put("embeddings", "width", 5),
    "embeddings.encoder must be one of bow, text, projected, twin": put("embeddings", "encoder", "clap"),
    "acoustics.tempo_bpm must lie in 49.5 .. 200.5 bpm; got 999.0 (row happy-02-s0": put(
        "acoustics", "tempo_bpm", 999.0
    ),
    "acoustics.mode_margin must not be missing": put("acoustics", "mode_margin", np.nan),
    "acoustics.complete.n_rows must be 1; got 0 (row calm-00-s0": drop(
        "acoustics", lambda f: f["clip_id"] != "calm-00-s0"
    ),
}


def test_lawful_datasets_pass_every_suite():
    outcomes = validate(suites_of(lawful_datasets(), lawful_params()))
    assert [outcome.line for outcome in outcomes if not outcome.success] == []
    assert len(outcomes) > 150


@pytest.mark.parametrize("line", FAULTS)
def test_a_planted_fault_is_named(line: str):
    thing = line.split(" must")[0]
    plant = FAULTS[line]
    lines = [outcome.line for outcome in failures(plant(lawful_datasets()), lawful_params(), thing)]
    assert any(line in each for each in lines), lines
    assert all("\n" not in each for each in lines)


def test_a_design_that_cannot_reach_the_threshold_says_how_many_prompts_it_needs():
    data = drop("prompts", lambda f: ~f["prompt_id"].str.endswith("-02"))(lawful_datasets())
    params = lawful_params()
    small = replace(params, prompts=replace(params.prompts, n_per_emotion=2))
    (failed,) = failures(data, small, "prompts.design")
    assert "prompts.design.smallest_p must lie in 0 .. 0.001; got 0.0095" in failed.line
    assert "p < decide.alpha_strong = 0.001 needs prompts.n_per_emotion of at least 3" in failed.line
    assert [key for key, _ in failed.examples] == ["signal", "probe"]


def test_too_few_relabellings_for_the_threshold_are_named():
    params = lawful_params()
    few = replace(params, signal=replace(params.signal, n_permutations=500))
    (failed,) = failures(lawful_datasets(), few, "prompts.design")
    assert "prompts.design.n_permutations must be at least 1000; got 500 (row signal" in failed.line


def test_neutral_prompts_have_no_affect_and_no_wording_and_pass():
    data, params = lawful_datasets(), lawful_params()
    neutral = data.prompts.iloc[:3].assign(
        prompt_id=["neutral-00", "neutral-01", "neutral-02"],
        emotion="neutral",
        valence=np.nan,
        arousal=np.nan,
        wording="",
        split=["train", "val", "test"],
        text=["piano", "flute", "organ"],
        set="neutral",
    )
    prompts = pd.concat([data.prompts, neutral], ignore_index=True)
    with_neutral = replace(params, prompts=replace(params.prompts, sets=("generic", "neutral")))
    views = prompts_suite(prompts, with_neutral)
    assert [outcome.line for outcome in validate({"prompts": views}) if not outcome.success] == []


def test_the_page_shows_failed_rows_first_escapes_and_loads_nothing():
    data = put("prompts", "emotion", "<b>joy</b>")(lawful_datasets())
    outcomes = validate({"prompts": prompts_suite(data.prompts, lawful_params())})
    page = render_suite("prompts", outcomes)
    assert "<b>joy" not in page
    assert "&lt;b&gt;joy" in page
    assert page.index("sad-01") < page.index("not be missing")
    assert "http" not in page.replace("http-equiv", "")
    assert page == render_suite("prompts", outcomes)


@pytest.mark.parametrize(("absmax", "failed"), [(0.0, []), (0.5, ["activations.null_text.absmax must be"])])
def test_the_null_half_of_cross_attention_must_be_exactly_zero(absmax: float, failed: list[str]):
    data, params = lawful_datasets(), lawful_params()
    dead = {"norm_mean": 0.0, "norm_max": 0.0, "absmax": absmax, "dead_fraction": 1.0, "step_change": 0.0}
    rows = []
    for half, changed in (("cond", {}), ("uncond", dead)):
        rows.append(data.activations.assign(site="cross_attention", half=half, **changed))
    index = pd.concat(rows, ignore_index=True)
    index["hookpoint"] = index["hookpoint"].str.replace("residual", "cross_attention")
    index["row_id"] = index["clip_id"] + "/" + index["hookpoint"] + "/" + index["half"]
    both = replace(params, generate=replace(params.generate, sites=("cross_attention",), half="both"))
    views = activations_suite(index, data.clips, data.shards, both, MODEL)
    lines = [outcome.line for outcome in validate({"activations": views}) if not outcome.success]
    assert len(lines) == len(failed)
    assert all(line.startswith(start) for line, start in zip(lines, failed, strict=True))


def test_many_failed_rows_are_counted_and_the_first_is_named():
    data = lawful_datasets()
    many = pd.concat([data.activations.assign(step_change=0.0)] * 40, ignore_index=True)
    many["row_id"] = [f"row-{i}" for i in range(len(many))]
    assert len(many) > 200, "Great Expectations lists the values of the first 200 only"
    views = activations_suite(many, data.clips, data.shards, lawful_params(), MODEL)
    column = tuple(c for c in views[0].table.columns if c.name in ("row_id", "step_change"))
    view = replace(views[0], table=replace(views[0].table, columns=column), equal={})
    (failed,) = [outcome for outcome in validate({"activations": [view]}) if not outcome.success]
    assert failed.n_failed == len(many)
    assert "(row row-0" in failed.line
