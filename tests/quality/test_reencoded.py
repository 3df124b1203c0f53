"""The suite of the re-encoded states: a lawful grid passes, and each planted fault is named."""

from dataclasses import replace
from itertools import product

import pandas as pd
import pytest

from moodlens.contracts.tensors import CONDITIONS, MODELS
from moodlens.quality.reencoded_suite import ReencodedData, reencoded_suite
from moodlens.quality.run import validate
from tests.quality.datasets import MODEL, N_FRAMES, N_LAYERS, lawful_datasets, lawful_params

SITES = ("residual", "cross_attention", "logits")
CLIPS = lawful_datasets().clips
NEXT = {"happy": "sad", "sad": "calm", "calm": "energetic", "energetic": "happy"}


def lawful() -> ReencodedData:
    """Every model, condition and hookpoint of every clip; cross-attention to null text is exactly 0."""
    points = [f"{site}.{layer}" for site in SITES[:2] for layer in range(N_LAYERS)] + ["logits.0"]
    rows = []
    for clip, model, condition, point in product(CLIPS["clip_id"], MODELS, CONDITIONS, points):
        silent = point.startswith("cross") and condition == "null"
        rows.append(
            {
                "row_id": f"{clip}/{model}/{condition}/{point}",
                "clip_id": clip,
                "model": model,
                "condition": condition,
                "hookpoint": point,
                "shard": 0,
                "row": 0,
                "n_steps": N_FRAMES + 3,
                "width": 4 * 32 if point == "logits.0" else MODEL.d_model,
                "finite_fraction": 1.0,
                "norm_mean": 0.0 if silent else 2.0,
                "step_change": 0.3,
            }
        )
    swaps = pd.DataFrame({"clip_id": CLIPS["clip_id"], "emotion": CLIPS["emotion"]})
    swaps["swapped_prompt_id"] = "x"
    swaps["swapped_emotion"] = [NEXT[emotion] for emotion in CLIPS["emotion"]]
    tests = {"shard": [0], "forced_difference": [1e-5], "null_difference": [0.0]}
    selftests = pd.DataFrame({**tests, "patch_difference": [0.0], "n_states": [10]})
    shards = pd.DataFrame({"file": ["reencoded/summary-0000.safetensors"], "state": ["readable"]})
    return ReencodedData(pd.DataFrame(rows), swaps, selftests, shards)


def failures(data: ReencodedData) -> list[str]:
    params = lawful_params()
    params = replace(params, reencode=replace(params.reencode, sites=SITES))
    views = reencoded_suite(data, CLIPS, params, MODEL)
    return [outcome.line for outcome in validate({"reencoded": views}) if not outcome.success]


def test_lawful_states_pass():
    assert failures(lawful()) == []


def where(data: ReencodedData, hookpoint: str, condition: str) -> pd.Index:
    index = data.index
    return index.index[(index["hookpoint"] == hookpoint) & (index["condition"] == condition)]


@pytest.mark.parametrize(
    ("frame", "column", "value", "line"),
    [
        ("index", "n_steps", 1, "reencoded.n_steps must equal clips.n_steps; got '1 against 53'"),
        ("index", "width", 7, "reencoded.width must equal site.width; got '7 against 16'"),
        ("index", "norm_mean", 0.0, "reencoded.norm_mean must be at least 1e-12; got 0.0"),
        (
            "index",
            "row_id",
            "x",
            "reencoded.complete.n_rows must be 1; got 0 (row happy-00-s0/model/own/",
        ),
        ("swaps", "swapped_emotion", "happy", "reencoded.swaps.changed must be 1; got 0 (row happy-00-s0"),
        ("swaps", "clip_id", "x", "reencoded.swapped.n_rows must be 1; got 0 (row happy-00-s0"),
        (
            "selftests",
            "forced_difference",
            0.01,
            "reencoded.selftests.forced_difference must lie in 0",
        ),
        ("shards", "state", "missing", "reencoded.shards.state must be readable; got 'missing'"),
    ],
)
def test_a_planted_fault_is_named(frame: str, column: str, value: object, line: str):
    data = lawful()
    table = getattr(data, frame)
    table.loc[table.index[0], column] = value
    lines = failures(data)
    assert any(each.startswith(line) for each in lines), lines


def test_null_text_must_add_exactly_nothing():
    data = lawful()
    data.index.loc[where(data, "cross_attention.1", "null")[0], "norm_mean"] = 0.5
    (line,) = failures(data)
    assert line.startswith("reencoded.null_text.norm_mean must be 0; got 0.5")
