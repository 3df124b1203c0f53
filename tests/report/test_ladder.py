"""The ladder as words: nothing of decide.json is lost, nothing untested looks tested."""

import re

import pytest

from moodlens.decision.ladder import RUNGS
from moodlens.report.decide import QUESTIONS, SHOWN, TITLES, verdict_of, verdict_text

BASELINE = {"accuracy": 0.4, "difference": 0.5, "low": 0.3, "high": 0.6, "p": 0.001}


def rung(verdict: str = "strong", accuracy: float | None = 0.9, **changes: object) -> dict[str, object]:
    known = accuracy is not None
    return {
        "verdict": verdict,
        "statistic": "balanced accuracy of a probe",
        "accuracy": accuracy,
        "low": accuracy - 0.05 if known else None,
        "high": accuracy + 0.05 if known else None,
        "p": 0.0005 if known else None,
        "effect": 0.123 if known else None,
        "baselines": {"bag of words": BASELINE} if known else {},
        "rule": f"{verdict}, because",
        "next_step": f"after {verdict}",
        "more_prompts": None,
    } | changes


def decided(**rungs: dict[str, object]) -> dict[str, object]:
    whole = {name: rung("untested", None) for name in RUNGS} | {"words": rung(), **rungs}
    reached = [name for name in RUNGS if whole[name]["verdict"] in ("strong", "weak")]
    return {"headline": "The sentence.", "highest_rung": reached[-1] if reached else "", **whole}


def test_every_rung_has_its_words():
    assert set(QUESTIONS) == set(RUNGS)
    assert set(TITLES) == {"", *RUNGS}


def test_rungs_keep_their_order_and_untested_is_not_a_number():
    found = verdict_of(decided(music=rung("undecided")), n_emotions=4, n_prompts=64)
    assert [r.number for r in found.rungs] == [0, 1, 2, 3, 4]
    assert [r.verdict for r in found.rungs] == [
        "strong",
        SHOWN["untested"],
        "undecided",
        "not tested",
        "not tested",
    ]
    assert found.rungs[4].bars == ()
    assert found.headline == "Emotion is in the words"


def test_bars_hold_result_baseline_and_chance():
    bars = verdict_of(decided(), n_emotions=4, n_prompts=64).rungs[0].bars
    assert [(bar.kind, bar.value) for bar in bars] == [("result", 0.9), ("baseline", 0.4), ("chance", 0.25)]
    assert bars[0].note == "[85, 95]\u202f%, 64 prompts"
    assert bars[1].note == "rung − this: +50 [+30, +60] points, p = 0.0010"


@pytest.mark.parametrize(
    ("text_code", "music", "expected"),
    [
        ("weak", "untested", "after weak (rung: text code)"),
        ("weak", "strong", "after untested (rung: state)"),
    ],
)
def test_the_next_step_looks_upwards_from_the_highest_rung(text_code: str, music: str, expected: str):
    found = verdict_of(decided(text_code=rung(text_code), music=rung(music)), n_emotions=4, n_prompts=64)
    assert found.next_step == expected


def test_a_rung_without_an_effect_claims_none():
    found = verdict_of(decided(words=rung(effect=None)), n_emotions=4, n_prompts=64)
    assert "Effect" not in found.rungs[0].evidence
    assert "p (maxT) = 0.0005" in found.rungs[0].evidence


def test_no_rung_reached():
    found = verdict_of(decided(words=rung("none", 0.26)), n_emotions=4, n_prompts=64)
    assert found.headline == TITLES[""]


@pytest.mark.parametrize("name", RUNGS)
def test_terminal_text_has_a_line_per_rung(name: str):
    text = verdict_text(decided(text_code=rung("weak", 0.7)))
    (line,) = re.findall(rf"^\d {name.replace('_', ' ')} .*$", text, re.MULTILINE)
    expected = {"words": "0.900", "text_code": "0.700"}.get(name, "not tested")
    assert expected in line
    assert text.startswith("EMOTION IS IN THE TEXT CODE\nThe sentence.")
    assert "Next (text code): after weak" in text
