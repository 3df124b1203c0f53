"""The headline: one clause a rung, none stronger than its verdict, in every combination."""

from itertools import product

import pytest

from moodlens.decision.ladder import CLIMBED
from moodlens.decision.sentences import headline, source_sentence

VERDICTS = ("strong", "weak", "none", "undecided", "untested")


@pytest.mark.parametrize(
    ("text_code", "music", "expected"),
    [
        (
            "strong",
            "strong",
            "The text encoder encodes emotion and it reaches the music; whether exchanging the "
            "states of a layer moves the music is not tested.",
        ),
        (
            "strong",
            "undecided",
            "The text encoder encodes emotion; whether it reaches the music is undecided (44 more wordings "
            "per emotion are expected to settle it); whether exchanging the states of a layer moves the "
            "music is not tested.",
        ),
        (
            "undecided",
            "weak",
            "Whether the text encoder encodes emotion is undecided (more wordings of these prompt sets are "
            "not expected to settle it); emotion reaches the music (weak evidence); whether exchanging the "
            "states of a layer moves the music is not tested.",
        ),
        (
            "none",
            "untested",
            "The text encoder encodes no emotion of the size tested; whether emotion reaches the music is "
            "not tested; whether exchanging the states of a layer moves the music is not tested.",
        ),
    ],
)
def test_a_headline_is_a_sentence_made_of_the_rungs(text_code: str, music: str, expected: str):
    verdicts = {"text_code": text_code, "music": music, "use": "untested"}
    assert headline(verdicts, {"text_code": None, "music": 44}) == expected


@pytest.mark.parametrize("verdicts", product(VERDICTS, repeat=3), ids=" ".join)
def test_no_combination_claims_a_rung_that_is_not_reached(verdicts: tuple[str, ...]):
    text = headline(dict(zip(CLIMBED, verdicts, strict=True)), {"text_code": 3})
    for word, phrase in (("undecided", "is undecided"), ("untested", "is not tested")):
        assert text.count(phrase) == verdicts.count(word)
    assert text.count("of the size tested") == verdicts.count("none")
    assert text.count("(weak evidence)") == verdicts.count("weak")
    clauses = text.rstrip(".").replace(" and ", "; ").split("; ")
    assert len(clauses) == len(CLIMBED)
    for verdict, clause in zip(verdicts, clauses, strict=True):
        claimed = not clause.lower().startswith(("whether ", "no ")) and " no " not in clause
        assert claimed == (verdict in ("strong", "weak")), clause


SOURCES = ("music", "memory", "reading")


@pytest.mark.parametrize("verdicts", product(VERDICTS, repeat=3), ids=" ".join)
def test_no_combination_names_a_source_that_is_not_shown(verdicts: tuple[str, ...]):
    of = dict(zip(SOURCES, verdicts, strict=True))
    text = source_sentence(of)
    shown = {name for name, verdict in of.items() if verdict in ("strong", "weak")}
    assert (text == "") == (set(verdicts) == {"untested"})
    assert ("is read again from the text" in text) == ("reading" in shown)
    remembered = "carried by a memory" in text or "also remembered" in text
    assert remembered == ("memory" in shown)
    if "not remembered" in text:
        assert of["memory"] == "none"
    if "not read again" in text:
        assert of["reading"] == "none"
    assert ("The music played so far carries it on" in text) == ("music" in shown)


def test_the_sentence_of_the_sources_stands_behind_that_on_the_music():
    verdicts = {"text_code": "strong", "music": "strong", "use": "untested"}
    assert headline(verdicts, {}, "It is read again.") == (
        "The text encoder encodes emotion and it reaches the music. It is read again. "
        "Whether exchanging the states of a layer moves the music is not tested."
    )
