"""The description of a factor: every reader is on the side that its p gives it, and no verdict is passed."""

from dataclasses import asdict

import pytest

from moodlens.decision.findings import describe_factor
from moodlens.null_text.evidence import REQUIRED
from tests.decision.thresholds import THRESHOLDS

READERS = (*REQUIRED, "token history", "codec history", "other descriptors")


def result(**p_of: float) -> dict:
    leads = {
        name: {"value": 0.3, "difference": 0.2, "low": 0.1, "high": 0.3, "p": p_of.get(name, 0.001)}
        for name in READERS
    }
    numbers = {"r2": 0.6, "low": 0.5, "high": 0.7, "p": 0.0005, "prompted_r": 0.9, "prompted_p": 0.002}
    return {**numbers, "asked_by": "arousal", "leads": leads}


def test_numbers_are_repeated_and_no_verdict_is_passed():
    described = describe_factor("tempo", result(), THRESHOLDS)
    assert (described.r2, described.prompted_r, described.prompted_p) == (0.6, 0.9, 0.002)
    assert "verdict" not in asdict(described)
    assert described.sentences.startswith(
        "Tempo of the music, predicted from null-text states: R2 0.600 [0.500, 0.700], p = 0.0005; "
        "correlation of the prediction with the arousal of the prompts 0.90, p = 0.002."
    )


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_is_beaten_below_half_of_alpha(reader: str):
    ahead = describe_factor("tempo", result(**{reader: 0.0249}), THRESHOLDS)
    assert reader in ahead.better_than
    assert ahead.not_shown_against == ()
    assert "not shown" not in ahead.sentences
    level = describe_factor("tempo", result(**{reader: 0.025}), THRESHOLDS)
    assert level.not_shown_against == (reader,)
    assert reader not in level.better_than
    assert f"A lower error is not shown against: {reader}." in level.sentences
