"""The check of the design and the finding on null-text states: descriptions, no more than was tested."""

from dataclasses import fields, replace

import pytest

from moodlens.decision.evidence import Baseline
from moodlens.decision.findings import Finding, null_text_finding, words_check
from moodlens.decision.sentences import SUMMARISES
from moodlens.null_text.evidence import REQUIRED
from tests.decision.test_ladder import FOUND, SILENT
from tests.decision.thresholds import THRESHOLDS

UNTRAINED = tuple(Baseline(name, 0.5, 0.3, 0.1, 0.5, 0.001) for name in REQUIRED)
STATES = replace(FOUND, site="residual.3 at step 3", baselines=UNTRAINED)


def test_a_finding_has_no_verdict():
    assert "verdict" not in {field.name for field in fields(Finding)}


def test_the_check_of_the_words_says_that_random_deals_pass_it():
    check = words_check(replace(FOUND, unit="prompt", effect=None, baselines=()), THRESHOLDS)
    assert check.sentence == "The words of the prompts tell the emotion of held-out prompts."
    assert ".88 of deals" in check.note
    assert "licenses nothing" in check.note
    assert (check.accuracy, check.effect) == (0.9, None)
    silent = words_check(replace(SILENT, unit="prompt", effect=None), THRESHOLDS)
    assert "are not shown to tell" in silent.sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {},
            "Trained states summarise the music they are fed; this is not shown to exceed untrained memory.",
        ),
        ({"accuracy": 0.5}, SUMMARISES),
        (
            {"baselines": (UNTRAINED[0], replace(UNTRAINED[1], p=0.03))},
            "States under null text tell the emotion of the music they are fed; it is not shown that they "
            "tell more than untrained decoders do.",
        ),
        ({"p": 0.05}, "The emotion of the prompts is not shown in states under null text."),
    ],
    ids=["default", "below the bar", "as untrained", "not significant"],
)
def test_the_sentence_on_null_text_states_follows_the_tests(change: dict, sentence: str):
    assert null_text_finding(replace(STATES, **change), THRESHOLDS).sentence == sentence


def test_conditions_and_readers_are_kept_as_a_description():
    tokens = Baseline("token history", 0.9, -0.1, -0.2, 0.0, 1.0)
    finding = null_text_finding(replace(STATES, accuracy=0.7, beside=(tokens,)), THRESHOLDS)
    assert [base.name for base in finding.baselines] == [*REQUIRED, "token history"]
    failed = [condition.clause for condition in finding.conditions if not condition.holds]
    assert failed == ["accuracy 0.700 (required: > 0.75)"]
    assert "untrained decoder's running mean" in finding.note
