"""The summary: the same keys whatever ran, effect first, the worse of the two leads."""

from dataclasses import replace

from moodlens.decision.evidence import Baseline
from moodlens.decision.ladder import decide
from moodlens.decision.summary import summary_of
from moodlens.null_text.evidence import REQUIRED
from tests.decision.test_ladder import FOUND
from tests.decision.thresholds import THRESHOLDS


def test_the_keys_stay_and_what_was_not_measured_is_none():
    full = summary_of(
        decide({"music": FOUND, "layers": FOUND}, THRESHOLDS),
        {"n_clips": 128, "layers": {"effect": 0.4}},
        {"acoustic_match": 0.9},
    )
    bare = summary_of(decide({}, THRESHOLDS), {"n_clips": 0}, {})
    assert list(full) == list(bare)
    assert min(bare) == "effect_layers"
    assert len(bare) <= 15
    assert (full["effect_layers"], full["sound_match"], full["rungs_reached"]) == (0.4, 0.9, 1)
    assert {name for name, value in bare.items() if value is not None} == {"n_clips", "rungs_reached"}


def test_the_lead_is_that_over_the_better_untrained_decoder():
    bases = [
        Baseline(name, 0.5, gap, 0.0, 1.0, 0.001) for name, gap in zip(REQUIRED, (0.3, 0.2), strict=True)
    ]
    tokens = Baseline("token history", 0.9, -0.1, -0.2, 0.0, 1.0)
    state = replace(FOUND, baselines=tuple(bases), beside=(tokens,))
    decision = decide({"state": state}, THRESHOLDS)
    assert summary_of(decision, {"n_clips": 1}, {})["state_above_untrained"] == 0.2
