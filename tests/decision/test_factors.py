"""A factor's verdict: every condition counts, and the rule names what failed."""

import pytest

from moodlens.decision.factors import judge_factor
from moodlens.decision.ladder import Verdict
from moodlens.null_text.evidence import REQUIRED
from tests.decision.thresholds import THRESHOLDS


def lead(p: float) -> dict[str, float]:
    return {"value": 0.3, "difference": 0.2, "low": 0.1, "high": 0.3, "p": p}


def told(**changes: object) -> dict:
    leads = {name: lead(0.001) for name in (*REQUIRED, "token history", "codec history", "other descriptors")}
    known = {"r2": 0.6, "low": 0.5, "high": 0.7, "p": 0.0005, "asked_by": "arousal"}
    return {**known, "prompted_r": 0.9, "prompted_p": 0.0005, "leads": leads, **changes}


def beaten_by(name: str) -> dict:
    found = told()
    return {**found, "leads": {**found["leads"], name: lead(0.4)}}


def test_a_factor_told_better_than_by_every_reader_is_strong():
    found = judge_factor("tempo", told(), THRESHOLDS, "strong")
    assert found.verdict == "strong"
    assert (found.r2, found.prompted_r) == (0.6, 0.9)


@pytest.mark.parametrize("reader", ["token history", "codec history", "other descriptors"])
def test_a_reader_of_the_same_tokens_that_is_as_good_makes_it_weak(reader: str):
    found = judge_factor("tempo", beaten_by(reader), THRESHOLDS, "strong")
    assert found.verdict == "weak"
    assert f"against the {reader}, p = 0.4" in found.rule.split("not strong, because")[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"p": 0.2}, "tempo of the music is predicted at p = 0.2"),
        ({"r2": 0.01}, "R2 0.010"),
        ({"prompted_p": 0.3}, "follows the arousal of the prompts: r = 0.90, p = 0.3"),
    ],
)
def test_what_is_missing_leaves_it_undecided(change: dict, said: str):
    found = judge_factor("tempo", told(**change), THRESHOLDS, "strong")
    assert found.verdict == "undecided"
    assert said in found.rule


@pytest.mark.parametrize("reader", REQUIRED)
def test_an_untrained_decoder_that_is_as_good_leaves_it_undecided(reader: str):
    assert judge_factor("tempo", beaten_by(reader), THRESHOLDS, "strong").verdict == "undecided"


@pytest.mark.parametrize("state", ["none", "undecided", "untested"])
def test_no_factor_is_found_in_a_state_that_was_not(state: Verdict):
    found = judge_factor("tempo", told(), THRESHOLDS, state)
    assert found.verdict == "undecided"
    assert found.rule == f"undecided, because the rung state is {state} (required: strong or weak)"
    assert judge_factor("tempo", told(), THRESHOLDS, "weak").verdict == "strong"
