"""The check of the design and the finding on null-text states: descriptions, no more than was tested."""

from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest

from moodlens.decision.evidence import Baseline
from moodlens.decision.findings import Finding, null_text_finding, words_check
from tests.decision.test_ladder import FOUND, SILENT
from tests.decision.thresholds import THRESHOLDS

ROOT = Path(__file__).parents[2]
FAMILIES = tuple(
    Baseline(name, 0.4, 0.2, 0.1, 0.3, 0.001) for name in ("untrained decoder, leak 0.9", "recurrent reader")
)
STATES = replace(FOUND, site="residual.3 at step 3", baselines=FAMILIES)


def test_a_finding_has_no_verdict():
    assert "verdict" not in {field.name for field in fields(Finding)}


def test_the_check_of_the_words_says_that_random_deals_pass_it():
    check = words_check(replace(FOUND, unit="prompt", effect=None, baselines=()), THRESHOLDS)
    assert check.sentence == "The words of the prompts tell the emotion of held-out prompts."
    rates = pd.read_csv(ROOT / "calibration" / "rates.csv").set_index("test")
    dealt = rates.loc["wordings dealt to labels at random: words name the label of held-out prompts"]
    assert f"in {round(dealt.rate * dealt.n_sims)} of {dealt.n_sims} simulations" in check.note
    assert "licenses nothing" in check.note
    assert (check.accuracy, check.effect) == (0.9, None)
    silent = words_check(replace(SILENT, unit="prompt", effect=None), THRESHOLDS)
    assert "are not shown to tell" in silent.sentence


CLAIM = "A trained state summarises the emotion of its past more accessibly than untrained memory does."
DESCRIPTION = (
    "Trained states summarise the music they are fed; they are not shown to exceed untrained memory."
)
NONE = "The emotion of the prompts is not shown in states under null text."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, CLAIM),
        ({"accuracy": 0.5}, CLAIM),  # with all prompts a state cannot be favoured
        ({"baselines": (FAMILIES[0], replace(FAMILIES[1], p=0.03))}, DESCRIPTION),
        ({"baselines": (FAMILIES[0], replace(FAMILIES[1], difference=-0.1))}, DESCRIPTION),
        ({"baselines": ()}, DESCRIPTION),
        ({"p": 0.05}, NONE),
    ],
    ids=["all beaten", "low accuracy", "one not beaten", "one ahead", "no family", "emotion not told"],
)
def test_the_claim_on_null_text_states_needs_every_family(change: dict, sentence: str):
    assert null_text_finding(replace(STATES, **change), THRESHOLDS).sentence == sentence


def test_conditions_and_readers_are_kept():
    tokens = Baseline("token history", 0.9, -0.1, -0.2, 0.0, 1.0)
    equal = replace(FAMILIES[1], difference=0.01, p=0.4)
    finding = null_text_finding(replace(STATES, baselines=(FAMILIES[0], equal), beside=(tokens,)), THRESHOLDS)
    assert [base.name for base in finding.baselines] == [base.name for base in (*FAMILIES, tokens)]
    failed = [condition.clause for condition in finding.conditions if not condition.holds]
    assert len(finding.conditions) == 3
    assert failed == ["+0.010 [+0.100, +0.300] against the recurrent reader, p = 0.4 (required: < 0.025)"]


@pytest.mark.parametrize("p", [0.001, 0.5])
def test_no_sentence_says_that_a_state_holds_more_than_it_is_fed(p: float):
    for base_p in (0.001, 0.5):
        bases = tuple(replace(base, p=base_p) for base in FAMILIES)
        finding = null_text_finding(replace(STATES, p=p, baselines=bases), THRESHOLDS)
        assert "holds no more than they do" in finding.note
        assert "beyond" not in finding.sentence
        assert "tells more" not in finding.sentence
