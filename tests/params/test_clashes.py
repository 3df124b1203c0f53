"""Two values that exclude each other are refused when the file is read, under their own names."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from moodlens.base.errors import UsageError
from moodlens.params.pipeline import parse_params

ROOT = Path(__file__).parents[2]


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name, value in changes.items():
        section, key = name.split(".")
        raw[section][key] = value
    return raw


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"signal.n_permutations": 99},
            "signal.n_permutations must be at least 1000, so that p can fall below",
        ),
        ({"probe.n_permutations": 999}, "probe.n_permutations must be at least 1000"),
        ({"decide.alpha_strong": 0}, "decide.alpha_strong must be more than 0"),
        ({"decide.alpha_weak": 1}, "decide.alpha_weak must be below 1"),
        ({"decide.alpha_weak": 0.0001}, "decide.alpha_weak must be at least decide.alpha_strong = 0.001"),
        ({"decide.accuracy_weak": 0.9}, "decide.accuracy_strong must be at least decide.accuracy_weak = 0.9"),
        ({"forks.share_weak": 0.5}, "forks.share_strong must be at least forks.share_weak = 0.5"),
        ({"decide.looks": [16, 8]}, "decide.looks must increase; got [16, 8]"),
        ({"decide.looks": [8, 20]}, "prompts.n_per_emotion must be one of decide.looks, 8, 20; got 16"),
        ({"probe.n_folds": 65}, "probe.n_folds must not exceed the 64 prompts"),
        ({"null_text.n_folds": 65}, "null_text.n_folds must not exceed the 64 prompts"),
        ({"relate.n_folds": 65}, "relate.n_folds must not exceed the 64 prompts"),
        ({"probe.sites": ["text"]}, "probe.sites must hold bow"),
        ({"probe.sites": ["bow", "layers"]}, "probe.sites must hold text beside layers"),
        ({"signal.sites": ["bow", "text"]}, "signal.sites must hold layers, which probe.sites holds"),
        (
            {"signal.sites": ["bow", "text", "layers"]},
            "signal.sites must hold acoustics or tokens or codec, which probe.sites holds",
        ),
        ({"sae.architecture": "relu"}, "sae.revive must be resample or none with sae.architecture relu"),
        ({"check.min_clips_per_emotion": 33}, "check.min_clips_per_emotion must be at most 32"),
        ({"generate.n_seeds": 100_000}, "generate.n_seeds must give at most 1000000 clips"),
        ({"generate.windows": [[4.5, 5]]}, "generate.windows must begin inside the clip, before 4 s"),
        ({"reencode.sites": ["mlp"]}, "reencode.sites must share a hookpoint with generate.sites"),
        ({"generate.layers": [0, 1]}, "sae.sites must hold layers that generate.sites, generate.layers"),
        ({"generate.half": "uncond"}, "sae.sites must hold layers that generate.sites, generate.layers"),
        ({"generate.pooled_only": True}, "sae.sites must hold text sites alone with generate.pooled_only"),
        ({"sae.buffer_rows": 300}, "sae.buffer_rows must hold two batches of sae.batch_rows = 256"),
        ({"sae.sites": ["residual.³"]}, "sae.sites[0] must be text, text_pooled or <site>.<layer>"),
        ({"sae.sites": ["../residual.3"]}, "sae.sites[0] must be text, text_pooled or <site>.<layer>"),
        ({"sae.expansion": 10**6}, "sae.expansion must be at most 1024"),
        ({"generate.guidance_scale": math.nan}, "generate.guidance_scale must be a finite number; got nan"),
        ({"check.max_clipped_fraction": math.nan}, "check.max_clipped_fraction must be a finite number"),
        ({"forks.seed": 1 << 20_000}, "forks.seed must fit 64 bits; got 'a whole number of 20001 bits'"),
        ({"model.id": "a\0b"}, "model.id must hold no control characters"),
        ({"report.title": "\ud800"}, "report.title must hold no control characters"),
        ({"prompts.table_path": "x" * 300}, "prompts.table_path must be a path with parts of at most 255"),
        ({"prompts.mood_words": {"happy": []}}, "prompts.mood_words.happy must hold at least 1 entry"),
    ],
)
def test_a_clash_is_one_line_under_its_own_name(changes: dict[str, Any], said: str):
    with pytest.raises(UsageError) as caught:
        parse_params(changed(changes))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"generate.layers": [0, 1], "sae.sites": ["text", "residual.1"], "reencode.layers": [1]},
        {"generate.half": "both", "sae.sites": ["residual.3/uncond"]},
        {"generate.pooled_only": True, "sae.sites": ["text"]},
        {"generate.sites": ["final_norm"], "reencode.sites": ["final_norm"], "sae.sites": ["final_norm.0"]},
        {"decide.looks": [8, 16, 20]},
        {"sae.architecture": "gated", "sae.revive": "none"},
        {
            "signal.sites": ["bow", "text", "layers", "codec"],
            "probe.sites": ["bow", "text", "layers", "tokens"],
        },
        {"signal.sites": ["bow"], "probe.sites": ["bow"]},
        {"generate.duration_s": 0.6},
    ],
)
def test_values_that_go_together_are_read(changes: dict[str, Any]):
    parse_params(changed(changes))


def test_nesting_without_end_is_one_line():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError, match="nested at most 20 deep"):
        parse_params(changed({"decide.looks": endless}))
    wide: Any = "x"
    for _ in range(9):
        wide = [wide] * 9  # 9^9 values from 81 references, as the anchors of a YAML file give
    with pytest.raises(UsageError, match="at most 100000 values"):
        parse_params(changed({"decide.looks": wide}))


@pytest.mark.parametrize("key", ["<", "<all>", "[key]", "", "\0", "é", "x" * 5000, "a\nb"])
def test_a_key_that_looks_like_a_mark_of_the_reader_is_an_unknown_key(key: str):
    """A key that began with < or [ left nothing to name, and gave a traceback."""
    for raw in (changed({}) | {key: None}, changed({"probe.seed": 0})):
        raw["probe"][key] = 1
        with pytest.raises(UsageError, match="must be a known") as caught:
            parse_params(raw)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1500
