"""The truth table of the embedded models, and verdicts held against it."""

from moodlens.calibration.truth import TRUTH, judged


def test_the_truth_table():
    assert {model: [rung for rung, holds in rungs.items() if holds] for model, rungs in TRUTH.items()} == {
        "organism": ["words", "text_code", "music", "state"],
        "organism-shuffled": ["words", "text_code"],
        "organism-random": ["words"],
    }


def test_neither_none_nor_undecided_claims_a_rung():
    said = {"words": "strong", "text_code": "weak", "music": "none", "state": "undecided"}
    assert [row.mark for row in judged("organism-shuffled", said)][:4] == ["right"] * 4
    assert [row.mark for row in judged("organism", said)][:4] == ["right", "right", "wrong", "wrong"]


def test_a_factor_is_right_where_the_card_says_it_was_learnt():
    said = {"tempo": "weak", "loudness": "undecided", "brightness": "strong"}
    marks = {
        model: {row.rung: row.mark for row in judged(model, {}, said) if row.rung.startswith("state: ")}
        for model in ("organism", "organism-shuffled")
    }
    names = ("state: tempo", "state: loudness", "state: brightness", "state: mode")
    assert marks["organism"] == dict(zip(names, ("right", "wrong", "right", "untested"), strict=True))
    assert marks["organism-shuffled"] == dict(
        zip(names, ("wrong", "right", "wrong", "untested"), strict=True)
    )
