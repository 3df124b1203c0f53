"""The truth table of the embedded models, and verdicts held against it."""

from moodlens.backends import catalog
from moodlens.calibration.truth import CUT_LAYERS, TRUTH, WHERE_CUT, judged
from moodlens.decision.ladder import RUNGS

UNTESTED = 4 * ["untested"]
"""Marks of the sources and of use, on which these verdicts are silent."""


def test_the_truth_table():
    assert {model: [rung for rung, holds in rungs.items() if holds] for model, rungs in TRUTH.items()} == {
        "organism": ["text_code", "music", "use"],
        "organism-memory": ["text_code", "music", "source_memory", "use"],
        "organism-memory-cut": ["text_code"],
        "organism-reader": ["text_code", "music", "source_reading", "use"],
        "organism-shuffled": ["text_code"],
        "organism-music-only": [],
        "organism-random": [],
        **{f"organism-memory-small-{n}": ["text_code", "music", "source_memory", "use"] for n in (1, 2, 3)},
        **{f"organism-reader-small-{n}": ["text_code", "music", "source_reading", "use"] for n in (1, 2, 3)},
    }
    assert TRUTH["organism-reader"]["source_memory"] is False
    assert TRUTH["organism-memory-cut"]["where_cut"] is False


def test_the_cut_layers_are_those_whose_cached_states_no_text_reaches():
    """Layer l caches what layer l - 1 puts out, so one layer more than is cut holds no text."""
    assert CUT_LAYERS == catalog.CUT_LAYERS + 1
    assert set(TRUTH) == set(catalog.EMBEDDED)


def test_every_rung_of_the_table_is_one_of_the_ladder():
    assert {rung for rungs in TRUTH.values() for rung in rungs} <= {*RUNGS, WHERE_CUT}


def test_neither_none_nor_undecided_claims_a_rung():
    for verdict in ("none", "undecided"):
        verdicts = {"text_code": "weak", "music": verdict}
        assert [row.mark for row in judged("organism-shuffled", verdicts)] == ["right", "right", *UNTESTED]
        assert [row.mark for row in judged("organism", verdicts)] == ["right", "wrong", "untested"]


def test_a_rung_without_a_verdict_is_untested_and_findings_are_not_judged():
    rows = judged("organism-random", {"text_code": "strong", "null_text": "strong"})
    assert [(row.rung, row.mark) for row in rows][:2] == [("text_code", "wrong"), ("music", "untested")]
