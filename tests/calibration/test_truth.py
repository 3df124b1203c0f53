from moodlens.calibration.truth import TRUTH, judged


def test_the_truth_table():
    assert {model: [rung for rung, holds in rungs.items() if holds] for model, rungs in TRUTH.items()} == {
        "organism": ["words", "text_code", "music", "state"],
        "organism-shuffled": ["words", "text_code"],
        "organism-random": ["words"],
    }


def test_neither_none_nor_undecided_claims_a_rung():
    said = {"words": "strong", "text_code": "weak", "music": "none", "state": "undecided"}
    assert [row.mark for row in judged("organism-shuffled", said)] == ["right"] * 4
    assert [row.mark for row in judged("organism", said)] == ["right", "right", "wrong", "wrong"]
