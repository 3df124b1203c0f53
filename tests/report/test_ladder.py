"""The ladder as words: nothing of decide.json is lost, nothing untested looks tested, no finding a rung."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from moodlens.decision.ladder import CLIMBED, RUNGS, SOURCES
from moodlens.null_text.evidence import REQUIRED
from moodlens.report.decide import (
    QUESTIONS,
    SHOWN,
    TITLES,
    beside_ladder,
    design_sentences,
    verdict_of,
    verdict_text,
)

BASELINE = {"accuracy": 0.4, "difference": 0.5, "low": 0.3, "high": 0.6, "p": 0.001}


def rung(verdict: str = "strong", accuracy: float | None = 0.9, **changes: object) -> dict[str, Any]:
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
        "more_wordings": None,
    } | changes


def finding(sentence: str, accuracy: float = 0.8, **changes: object) -> dict[str, Any]:
    numbers = {"accuracy": accuracy, "low": 0.7, "high": 0.9, "p": 0.0005, "effect": None}
    return {"sentence": sentence, "note": "A note.", "baselines": {}, "conditions": [], **numbers, **changes}


WORDS = finding("The words tell.", 0.859)
NULL_TEXT = finding(
    "Trained states summarise.", 0.828, baselines={name: {"accuracy": 0.5} for name in REQUIRED}
)


def decided(
    words: Mapping[str, Any] | None = WORDS,
    null_text: Mapping[str, Any] | None = NULL_TEXT,
    **rungs: dict[str, Any],
) -> dict[str, Any]:
    whole = {name: rung("untested", None) for name in RUNGS} | rungs
    reached = [name for name in CLIMBED if whole[name]["verdict"] in ("strong", "weak")]
    return {
        "headline": "The sentence.",
        "highest_rung": reached[-1] if reached else "",
        "rungs": whole,
        "design": {"words": words},
        "findings": {"layers": rung(), "null_text": null_text},
    }


def test_every_rung_has_its_words():
    assert set(QUESTIONS) == set(RUNGS)
    assert set(TITLES) == {"", *CLIMBED}


def test_rungs_keep_their_order_and_untested_is_not_a_number():
    shown = verdict_of(decided(text_code=rung(), music=rung("undecided")), n_emotions=4, n_prompts=64)
    assert [(r.number, r.name) for r in shown.rungs] == [
        (1, "text code"), (2, "music"), (3, "source music"), (4, "source memory"), (5, "source reading"),
        (6, "use"),
    ]  # fmt: skip
    assert [r.verdict for r in shown.rungs] == ["strong", "undecided", *4 * [SHOWN["untested"]]]
    assert [r.bars for r in shown.rungs[2:]] == 4 * [()]
    assert shown.headline == "The text encoder encodes emotion"


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_shows_its_share_and_is_not_climbed(name: str):
    source = rung(accuracy=None, statistic="share past a fork", effect=1.2, low=-0.1, high=0.4, p=0.002)
    shown = verdict_of(decided(text_code=rung(), **{name: source}), n_emotions=4, n_prompts=64)
    (found,) = (one for one in shown.rungs if one.name == name.replace("_", " "))
    assert found.evidence == "Share past a fork; p (maxT over steps) = 0.0020."
    (bar,) = found.bars
    assert (bar.text, bar.note) == ("120\u202f%", "[−10, 40]\u202f%")
    assert (bar.value, bar.low, bar.high) == (1.0, 0.0, 0.4)  # what can be drawn
    assert shown.headline == TITLES["text_code"]
    text = verdict_text(decided(text_code=rung(), **{name: source}))
    (line,) = re.findall(rf"^\d {name.replace('_', ' ')} .*$", text, re.MULTILINE)
    assert line.split()[3:] == ["strong", "[-0.100,", "0.400]", "0.0020", "1.20"]


def test_bars_hold_result_baseline_and_chance():
    bars = verdict_of(decided(text_code=rung()), n_emotions=4, n_prompts=64).rungs[0].bars
    assert [(bar.kind, bar.value) for bar in bars] == [("result", 0.9), ("baseline", 0.4), ("chance", 0.25)]
    assert bars[0].note == "[85, 95]\u202f%, 64 prompts"
    assert bars[1].note == "rung − this: +50 [+30, +60] points, p = 0.0010"


@pytest.mark.parametrize(
    ("text_code", "music", "expected"),
    [
        ("none", "untested", "after none (rung: text code)"),
        ("weak", "untested", "after weak (rung: text code)"),
        ("weak", "strong", "after untested (rung: use)"),
    ],
)
def test_the_next_step_looks_upwards_from_the_highest_rung(text_code: str, music: str, expected: str):
    shown = verdict_of(decided(text_code=rung(text_code), music=rung(music)), n_emotions=4, n_prompts=64)
    assert shown.next_step == expected


def test_a_rung_without_an_effect_claims_none():
    shown = verdict_of(decided(text_code=rung(effect=None)), n_emotions=4, n_prompts=64)
    assert "Effect" not in shown.rungs[0].evidence
    assert "p (maxT) = 0.0005" in shown.rungs[0].evidence


def test_no_rung_reached_whatever_stands_beside_the_ladder():
    shown = verdict_of(decided(text_code=rung("none", 0.26)), n_emotions=4, n_prompts=64)
    assert shown.headline == TITLES[""]
    values = [fact.value for fact in shown.beside]
    assert values[1:] == ["The words tell. A note.", "Trained states summarise."]


def test_check_and_finding_show_their_numbers():
    _, check, null_text = beside_ladder(decided())
    assert "design" in check.name
    assert check.note == "Accuracy 85.9\u202f% [70, 90]\u202f%, p (maxT) = 0.0005."
    assert null_text.note.startswith("Accuracy 82.8\u202f% [70, 90]\u202f%")
    assert all(f"{name} 50.0\u202f%" in null_text.note for name in REQUIRED)


def test_what_was_not_measured_beside_the_ladder_says_how_to_measure_it():
    _, check, null_text = beside_ladder(decided(words=None, null_text=None))
    assert "probe.sites" in check.value
    assert "dvc repro null_text" in null_text.value


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        (("holds", "described"), "are balanced over the emotions"),
        (("holds", "robust"), "a form that keeps its level"),
        (("robust", "undecided"), "allows no verdict"),
    ],
)
def test_the_check_of_the_design_says_what_follows_from_it(forms: tuple[str, ...], expected: str):
    check = {f"name {form}": {"form": form, "sentence": f"It is {form}."} for form in forms}
    value, note = design_sentences(check)
    assert expected in value
    assert [f"It is {form}." in note for form in forms] == [form in ("robust", "undecided") for form in forms]


@pytest.mark.parametrize("name", RUNGS)
def test_terminal_text_has_a_line_per_rung(name: str):
    text = verdict_text(decided(text_code=rung("weak", 0.7)))
    (line,) = re.findall(rf"^\d {name.replace('_', ' ')} .*$", text, re.MULTILINE)
    expected = {"text_code": "0.700"}.get(name, "not tested")
    assert expected in line
    assert text.startswith("THE TEXT ENCODER ENCODES EMOTION\nThe sentence.")
    assert "Next (text code): after weak" in text


def test_terminal_text_names_check_and_finding_as_what_they_are():
    text = verdict_text(decided(text_code=rung()))
    assert re.search(r"^Check of the design \(words\): The words tell\.", text, re.MULTILINE)
    assert re.search(r"^Finding \(states under null text\): Trained states summarise\.", text, re.MULTILINE)
    assert max(len(line) for line in text.splitlines()) <= 100
