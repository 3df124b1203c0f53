"""Conditions: bars relative to chance, comparisons within reach, the wordings that would settle a rung."""

from dataclasses import replace

import pytest

from moodlens.base.errors import ContractError
from moodlens.decision.conditions import conditions, wordings_needed
from moodlens.decision.evidence import Baseline
from tests.decision.test_ladder import FOUND, SILENT, TIED
from tests.decision.thresholds import THRESHOLDS


@pytest.mark.parametrize(
    ("n_emotions", "strong", "weak"),
    [(4, 0.75, 0.60), (2, 0.834, 0.734), (5, 0.734, 0.574), (3, 0.778, 0.645)],
)
def test_the_accuracy_bar_lies_equally_far_above_chance_for_every_number_of_emotions(
    n_emotions, strong, weak
):
    for is_strong, bar in ((True, strong), (False, weak)):
        for accuracy, holds in ((bar + 0.001, True), (bar, False)):
            evidence = replace(FOUND, n_emotions=n_emotions, accuracy=accuracy)
            found = conditions(evidence, THRESHOLDS, strong=is_strong)[1]
            assert found.holds is holds
            assert f"required: > {bar:g}" in found.clause


def test_a_comparison_out_of_reach_is_refused_whichever_claim_is_tested():
    few = replace(FOUND, n_units=5, n_folds=8)
    for strong in (True, False):
        with pytest.raises(
            ContractError, match="comparison with the bag of words must have at least 6 wordings"
        ):
            conditions(few, THRESHOLDS, strong=strong)
        assert conditions(replace(few, n_units=6), THRESHOLDS, strong=strong)
        assert conditions(replace(few, baselines=()), THRESHOLDS, strong=strong)


def weak(evidence):
    return conditions(evidence, THRESHOLDS, strong=False)


def test_without_significance_the_advice_is_the_power_to_say_none():
    quiet = replace(SILENT, n_units=36, units_needed=30, units_available=120)
    found = wordings_needed(quiet, weak(quiet), THRESHOLDS.alpha_weak)
    assert (found.now, found.total, found.more, found.beyond_the_sets) == (9, 30, 21, False)
    short = replace(quiet, units_available=29)
    found = wordings_needed(short, weak(short), THRESHOLDS.alpha_weak)
    assert (found.more, found.beyond_the_sets) == (None, True)
    endless = replace(quiet, units_needed=None)
    found = wordings_needed(endless, weak(endless), THRESHOLDS.alpha_weak)
    assert (found.total, found.more, found.beyond_the_sets) == (None, None, False)


def test_with_significance_the_slowest_condition_counts_and_one_without_a_number_ends_the_advice():
    close = replace(
        TIED, difference=0.1, low=-0.05, high=0.25
    )  # 16 x (0.15 / 0.1)^2 = 36 prompts, 20.25 wordings
    mixed = replace(FOUND, n_units=36, units_available=120, baselines=(close,))
    found = wordings_needed(mixed, weak(mixed), THRESHOLDS.alpha_weak)
    assert (found.total, found.more) == (21, 12)
    behind = replace(mixed, baselines=(close, Baseline("twin", 0.9, -0.1, -0.2, 0.0, 0.9)))
    assert wordings_needed(behind, weak(behind), THRESHOLDS.alpha_weak).total is None
    settled = replace(mixed, baselines=(replace(close, low=0.09, high=0.11),))  # no more than there are
    assert wordings_needed(settled, weak(settled), THRESHOLDS.alpha_weak).total is None
