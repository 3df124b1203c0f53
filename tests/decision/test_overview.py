"""The overview: verdicts first and as numbers, the same keys whatever ran, four significant digits."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from moodlens.decision.evidence import Baseline, Evidence
from moodlens.decision.ladder import Decision, decide
from moodlens.decision.overview import overview_of
from moodlens.null_text.evidence import REQUIRED
from tests.decision.test_ladder import FOUND, SILENT
from tests.decision.thresholds import THRESHOLDS

SIGNAL = {
    "n_prompts": 64,
    "n_clips": 128,
    "n_wordings": 36,
    "text": {"effect": 0.735941, "effect_low": 0.679327, "effect_high": 0.790158},
    "layers": {"effect": 0.388386, "effect_low": -0.0123456, "effect_high": 0.4},
}


def decided(**evidence: Evidence) -> Decision:
    return decide(evidence, THRESHOLDS)


def keys(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted paths of all values, in the order in which DVC prints them."""
    parts = [
        keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
        for key, value in sorted(tree.items())
    ]
    return [path for part in parts for path in part]


def test_a_verdict_that_turns_weak_changes_number_and_name_of_its_rung_alone():
    strong, weak = (
        overview_of(decided(text_code=FOUND, music=replace(FOUND, accuracy=accuracy)), SIGNAL, {})
        for accuracy in (0.9, 0.7)
    )
    assert strong["0_verdict"] == {
        "1_text_code": 3,
        "1_text_code_is": "strong",
        "2_music": 3,
        "2_music_is": "strong",
        "3_source_music": None,
        "3_source_music_is": "untested",
        "4_source_memory": None,
        "4_source_memory_is": "untested",
        "5_source_reading": None,
        "5_source_reading_is": "untested",
        "6_use": None,
        "6_use_is": "untested",
    }
    assert weak["0_verdict"] == {**strong["0_verdict"], "2_music": 2, "2_music_is": "weak"}


@pytest.mark.parametrize(
    ("music", "expected"),
    [(SILENT, (1, "undecided")), (replace(SILENT, power=0.97), (0, "none")), (None, (None, "untested"))],
)
def test_every_verdict_has_its_number(music: Evidence | None, expected: tuple):
    found = overview_of(decided(**({"music": music} if music else {})), SIGNAL, {})["0_verdict"]
    assert (found["2_music"], found["2_music_is"]) == expected


def test_what_was_not_measured_is_none_under_the_same_keys():
    full = overview_of(
        decided(text_code=FOUND, music=FOUND, layers=FOUND, words=FOUND, null_text=FOUND),
        SIGNAL,
        {"acoustic_match": 0.9921875},
    )
    bare = overview_of(decided(), {"n_prompts": 8, "n_clips": 0, "n_wordings": 4}, {})
    assert keys(full) == keys(bare)
    assert keys(bare)[0] == "0_verdict.1_text_code"
    assert bare["3_findings"] == dict.fromkeys(bare["3_findings"])
    assert bare["1_effects"]["layers"] == dict.fromkeys(("effect", "low", "high", "p", "accuracy"))
    assert bare["2_design"] == {"n_prompts": 8, "n_clips": 0, "n_wordings": 4, "words_accuracy": None}


def test_numbers_have_four_significant_digits():
    evidence = replace(FOUND, accuracy=0.859375, p=0.000123456)
    found = overview_of(decided(layers=evidence, words=evidence), SIGNAL, {"acoustic_match": 0.9921875})
    assert found["1_effects"]["layers"] == {
        "effect": 0.3884,
        "low": -0.01235,
        "high": 0.4,
        "p": 0.0001235,
        "accuracy": 0.8594,
    }
    assert found["2_design"]["words_accuracy"] == 0.8594
    assert found["3_findings"]["sound_match"] == 0.9922


def test_the_lead_is_that_over_the_better_untrained_decoder():
    bases = [
        Baseline(name, 0.5, gap, 0.0, 1.0, 0.001) for name, gap in zip(REQUIRED, (0.3, 0.2), strict=True)
    ]
    tokens = Baseline("token history", 0.9, -0.1, -0.2, 0.0, 1.0)
    states = replace(FOUND, baselines=tuple(bases), beside=(tokens,))
    found = overview_of(decided(null_text=states), SIGNAL, {})["3_findings"]
    assert found["null_text_minus_untrained"] == 0.2
