"""Shares, intervals and p-values on planted contrasts."""

import numpy as np
import pytest
from scipy import stats

from moodlens.forks.analysis import Plan, analyse
from moodlens.forks.cells import ALL
from moodlens.forks.shares import (
    Contrasts,
    Series,
    Total,
    contrasts_of,
    family_p,
    mean_of,
    shares_of,
    t_interval,
    total_of,
)
from moodlens.forks.verdicts import Bars, judge_source, where
from tests.forks.planted import GAPS, PAIRS, STEPS, planted

BARS = Bars(alpha_strong=0.001, alpha_weak=0.05, share_strong=0.25, share_weak=0.10, margin=0.10)
PLAN = Plan(BARS, confidence=0.95, n_flips=4999, seed=0)


def verdicts(**shares: float) -> dict[str, str]:
    analysis = analyse(planted(shares), GAPS, PLAN)
    return {source.name: source.verdict for source in analysis.sources}


def test_planted_shares_are_found_and_the_others_are_none():
    assert verdicts(memory=0.9) == {"music": "none", "memory": "strong", "reading": "none"}
    assert verdicts(reading=0.6, music=0.4) == {"music": "strong", "memory": "none", "reading": "strong"}


def test_a_share_below_the_bar_of_strong_is_weak():
    assert verdicts(memory=0.15)["memory"] == "weak"


def test_shares_are_fractions_of_the_total_of_each_pair():
    analysis = analyse(planted({"memory": 0.5}, noise=1e-6), GAPS, PLAN)
    memory = next(series for series in analysis.series if series.source == "memory")
    assert memory.steps == STEPS
    assert [share.share for share in memory.shares] == pytest.approx([0.5, 0.5], abs=1e-5)
    assert memory.mean.share == pytest.approx(0.5, abs=1e-5)
    assert analysis.total.per_pair == pytest.approx(GAPS, rel=1e-5)
    assert analysis.n_units == 18


def test_a_model_without_effect_is_measured_by_the_judges_own_gap():
    analysis = analyse(planted({}, total=0.0), GAPS, PLAN)
    assert analysis.total.of_judge
    assert analysis.total.per_pair == GAPS
    assert {source.verdict for source in analysis.sources} == {"none"}
    assert "judge's own gap" in analysis.sources[0].rule


def test_noise_that_hides_the_margin_leaves_the_source_undecided():
    analysis = analyse(planted({"reading": 1.0}, noise=25.0), GAPS, PLAN)
    assert {source.name: source.verdict for source in analysis.sources}["memory"] == "undecided"


def test_an_effect_of_the_words_alone_is_no_share():
    """Another wording of the same emotion moves the judge as much as the other emotion: nothing is shown."""
    analysis = analyse(planted({"memory": 0.5}, donor=1.0), GAPS, PLAN)
    memory = next(source for source in analysis.sources if source.name == "memory")
    assert memory.verdict == "undecided"
    assert memory.share.donor == pytest.approx(0.5, abs=0.05)


def test_the_level_of_the_sign_flips_holds_without_an_effect():
    rejected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        family = [rng.standard_normal(12) for _ in range(4)]
        rejected += family_p(family, 199, rng).min() < 0.05
    low, high = stats.binom.ppf([0.005, 0.995], 200, 0.05)
    assert low <= rejected <= high


def test_units_are_averaged_before_anything_is_tested():
    """Ten times the clips of every unit leave the number of units and nearly the interval."""
    few, many = (analyse(planted({"memory": 0.5}, n_clips=n, noise=0.0), GAPS, PLAN) for n in (2, 20))
    assert few.n_units == many.n_units
    assert few.sources[1].share.n_units == many.sources[1].share.n_units == 18


def test_the_t_interval_is_scipys():
    values = np.random.default_rng(0).normal(1, 2, 11)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert t_interval(values, 0.9) == pytest.approx((expected.low, expected.high))


def test_total_of_a_pair_is_its_mean_contrast_of_whole_clips():
    table = planted({}, noise=0.3)
    total = total_of(table, GAPS, 0.05, 999, np.random.default_rng(0))
    whole = table[(table["source"] == ALL) & (table["pair"] == PAIRS[0])]
    by_side = whole.groupby("side")["log_odds"].mean()
    assert total.per_pair[PAIRS[0]] == pytest.approx(by_side["one"] - by_side["other"])
    assert total.moved
    assert contrasts_of(whole, total).values.mean() == pytest.approx(1.0)


def test_where_finds_the_planted_layer_and_confirms_it_on_other_units():
    rng = np.random.default_rng(1)
    flat = np.zeros(18)
    family = {f"layer {n}": Contrasts((n == 2) * 0.6 + 0.1 * rng.standard_normal(18), flat) for n in range(5)}
    found = where(family, BARS, 0.95, 1999, np.random.default_rng(0))
    assert found.found == ("layer 2", "layer 2")
    assert found.confirmed_p < 0.01
    nothing = {name: Contrasts(0.1 * rng.standard_normal(18), flat) for name in family}
    assert where(nothing, BARS, 0.95, 1999, np.random.default_rng(0)).confirmed_p > 0.01


def test_a_step_counts_only_with_the_adjusted_p():
    rng = np.random.default_rng(3)
    alone = Contrasts(0.3 + 0.4 * rng.standard_normal(10), np.zeros(10))
    noise = [Contrasts(rng.standard_normal(10), np.zeros(10)) for _ in range(30)]
    (single,) = shares_of([alone], 0.95, 0.05, 1999, np.random.default_rng(0))
    adjusted = shares_of([alone, *noise], 0.95, 0.05, 1999, np.random.default_rng(0))[0]
    assert adjusted.p > single.p


@pytest.mark.parametrize(("spread", "expected"), [(0.05, "none"), (1.0, "undecided")])
def test_none_needs_every_step_and_not_the_mean_alone(spread: float, expected: str):
    """A wide first step leaves a memory open there, however narrow the mean over many steps is."""
    rng = np.random.default_rng(0)
    flat = np.zeros(18)

    def centred(width: float) -> Contrasts:
        values = width * rng.standard_normal(18)
        return Contrasts(values - values.mean(), flat)

    family = [centred(spread), *(centred(0.05) for _ in range(19))]
    shares = shares_of([*family, mean_of(family)], 0.95, 0.05, 999, np.random.default_rng(1))
    series = Series("memory", tuple(range(20)), tuple(shares[:-1]), shares[-1], (0.0,) * 20)
    total = Total({}, of_judge=False, share_of_gap=1.0, p=0.0)
    found = judge_source(series, total, BARS)
    assert max(abs(found.mean.narrow_low), abs(found.mean.narrow_high)) < BARS.margin
    assert found.verdict == expected
