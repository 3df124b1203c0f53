"""Evidence from the metrics of stages: what is passed on, and which of two tests counts."""

from typing import Any

import pytest

from moodlens.decision.from_metrics import evidence_of

PROBE: dict[str, Any] = {
    "n_emotions": 4,
    "n_prompts": 64,
    "music": {
        "best": "tokens", "unit": "wording", "n_permutations": 2000, "smallest_p": 0.0005, "accuracy": 0.9,
        "low": 0.8, "high": 0.95, "ridge_accuracy": 0.9, "permuted_extreme": 0.5, "p": 0.001, "baselines": {},
        "beside": {},
        "n_units": 36, "n_folds": 8, "tempo_bpm": 3.0, "tempo_p": 0.9,
    },
}  # fmt: skip
MUSIC: dict[str, Any] = {
    "effect": 0.2, "effect_low": 0.1, "effect_high": 0.3, "delta": 0.02, "power": 0.5, "n_needed": 60,
    "units_needed": 30, "p": 0.03, "n_permutations": 9999, "smallest_p": 0.004, "n_w_d_star": 0,
}  # fmt: skip


def evidence(**changed: object):
    signal = {"music": MUSIC | changed, "wordings_available": 120}
    return evidence_of(signal, PROBE, {})["music"]


def test_the_less_favourable_numbers_and_those_of_the_units_are_passed_on():
    found = evidence()
    assert (found.n_permutations, found.smallest_p) == (2000, 0.004)
    assert (found.n_units, found.n_folds, found.units_needed, found.units_available) == (36, 8, 30, 120)
    assert found.n_per_emotion == 16


@pytest.mark.parametrize(
    ("n_robust", "p_signal", "p"), [(0, 0.03, 0.001), (1, 0.03, 0.03), (3, 0.0001, 0.001)]
)
def test_with_w_d_star_in_use_the_larger_p_counts(n_robust, p_signal, p):
    found = evidence(n_w_d_star=n_robust, p=p_signal)
    assert (found.p, found.p_signal) == (p, p_signal)
