"""Verdicts on planted mediators, on nulls, and at the edge of what the design can reach."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from moodlens.base.errors import ContractError
from moodlens.use.analysis import Analysis, analyse
from moodlens.use.evidence import Arm, Evidence, arms_of, evidence_of, rank_p
from moodlens.use.verdict import is_null, judge_use
from tests.use.planted import BARS, CHOSEN, GAPS, PAIRS, PLAN, continuations, noisy_effects


def analysed(shares: dict[str, float], **about: float) -> Analysis:
    table, found = continuations(shares, **about)
    return analyse(table, found, GAPS, PLAN)


def judged(analysis: Analysis) -> tuple[str, str]:
    return analysis.use.verdict, analysis.use.rule


CARRIES = {"exchange": 0.6, "inside": 0.5, "outside": 0.1, "on": 0.4, "off": 0.7}


def test_a_mediator_of_more_than_half_is_strong_with_199_draws():
    analysis = analysed(CARRIES, n_draws=199, noise=1.0)
    verdict, rule = judged(analysis)
    assert verdict == "strong"
    mediated = analysis.use.evidence.mediated
    assert f"share {mediated.share:.2f}" in rule
    assert mediated.low < 0.6 < mediated.high
    assert mediated.high - mediated.low < 0.1
    by_name = {arm.name: arm for arm in analysis.arms}
    for name, share in {**CARRIES, "random": 0.0}.items():
        if name != "exchange":
            assert by_name[name].share == pytest.approx(share, abs=0.05), name


def test_39_draws_are_too_few_for_strong_and_the_rule_says_so():
    verdict, rule = judged(analysed(CARRIES))
    assert verdict == "weak"
    assert "not strong: 199 draws are needed for strong" in rule


def test_fewer_than_39_draws_allow_no_verdict_on_use():
    verdict, rule = judged(analysed(CARRIES, n_draws=19))
    assert verdict == "undecided"
    assert "39 draws are needed for weak" in rule


def test_few_units_are_too_few_for_strong_and_the_rule_says_so():
    verdict, rule = judged(analysed(CARRIES, n_draws=199, n_units=4))
    assert verdict == "weak"
    assert "11 units are needed for strong" in rule


def test_few_flips_are_too_few_for_strong_and_the_rule_says_so():
    table, found = continuations(CARRIES, n_draws=199)
    verdict, rule = judged(analyse(table, found, GAPS, replace(PLAN, n_flips=999)))
    assert verdict == "weak"
    assert "1000 sign flips are needed for strong" in rule


def test_a_small_share_is_weak():
    verdict, rule = judged(analysed({"exchange": 0.18}, n_draws=199))
    assert verdict == "weak"
    assert "not strong: share 0.18 < 0.25" in rule


def test_an_effect_of_the_text_that_the_place_does_not_carry_is_none():
    analysis = analysed({})
    assert analysis.use.verdict == "none"
    assert analysis.total.moved
    assert "within +-0.1" in analysis.use.rule


def test_noise_that_hides_the_margin_leaves_it_undecided():
    verdict, rule = judged(analysed({}, noise=12.0))
    assert verdict == "undecided"
    assert "not within +-0.1" in rule


def test_a_model_that_the_prompts_do_not_move_is_measured_by_the_judges_gap():
    analysis = analysed({}, total=0.0)
    assert analysis.total.of_judge
    assert analysis.use.verdict == "none"
    assert "judge's own gap" in analysis.use.rule


@pytest.mark.parametrize("control", ["wording", "seed"])
@pytest.mark.parametrize("share", [0.3, -0.3])
def test_a_control_that_moves_the_judge_forbids_the_claim(control: str, share: float):
    verdict, rule = judged(analysed(CARRIES | {control: share}, n_draws=199))
    assert verdict == "undecided"
    assert f"control {control} is not null" in rule


def test_a_control_is_null_unless_it_is_significant_and_large():
    about = {"low": 0.0, "high": 0.0, "narrow_low": 0.0, "narrow_high": 0.0}
    assert is_null(Arm("seed", share=-0.09, p=0.001, **about), BARS)
    assert is_null(Arm("seed", share=0.2, p=0.025, **about), BARS)
    assert not is_null(Arm("seed", share=-0.11, p=0.024, **about), BARS)


def test_a_significant_exchange_inside_the_margin_is_not_none():
    verdict, rule = judged(analysed({"exchange": 0.07}, noise=0.1))
    assert verdict == "undecided"
    assert "is within +-0.1, and the exchange is significant" in rule


def test_an_exchange_that_works_one_way_only_forbids_the_claim():
    """It pushes all music toward the second emotion, whatever its donor says."""
    verdict, rule = judged(analysed({"exchange": 0.8, "necessity": -0.2}, n_draws=199))
    assert verdict == "undecided"
    assert re.search(r"necessity has share -0\.\d\d, away from the donor", rule)


def test_null_directions_as_large_as_the_effect_forbid_the_claim():
    analysis = analysed({"exchange": 0.3}, null=0.5)
    assert analysis.use.verdict == "undecided"
    assert analysis.use.evidence.rank_p > 0.1
    assert "rank p" in analysis.use.rule


def test_null_directions_that_all_push_alike_forbid_the_claim():
    """Any push at the place moves text one's music as far: what is beyond the mean null is nothing."""
    table, found = continuations({"exchange": 0.3})
    at = table["arm"] == "random"
    table.loc[at, "log_odds"] -= 0.3 * table.loc[at, "pair"].map(GAPS)
    use = analyse(table, found, GAPS, PLAN).use
    assert use.verdict == "undecided"
    assert use.evidence.net_p > 0.05
    assert use.evidence.rank_p > 0.1


def test_the_rank_counts_draws_that_reach_the_effect_with_either_sign():
    effects, _ = noisy_effects(np.random.default_rng(0), n_draws=4, spread=0.0, mediated=0.5)
    nulls = np.array([0.1, -0.6, 0.5, 0.4])[:, None] * np.ones((4, 14))
    assert rank_p(replace(effects, nulls=nulls)) == 3 / 5


def test_what_the_plain_clip_shares_with_all_displacements_does_not_count():
    """The plain clip is luckier than any displaced one: nulls then look as large as the effect."""
    table, found = continuations({"exchange": 0.3}, noise=0.2)
    at = (table["arm"] == "plain") & (table["side"] == "one")
    table.loc[at, "log_odds"] += 0.4 * table.loc[at, "pair"].map(GAPS)
    found = replace(found, chosen=(CHOSEN[0], CHOSEN[0]))
    table = table.assign(**CHOSEN[0].columns)
    evidence = analyse(table, found, GAPS, PLAN).use.evidence
    assert evidence.rank_p == 1 / 40


def test_the_p_that_counts_is_the_largest():
    analysis = analysed({"exchange": 0.6, "necessity": 0.02}, noise=2.0, n_draws=199)
    evidence = analysis.use.evidence
    assert evidence.p == evidence.necessity.p > evidence.net_p
    assert analysis.use.verdict == "undecided"


def test_each_half_reports_its_own_place_and_share():
    table, found = continuations(CARRIES)
    half_0 = [found.half_of[key] == 0 for key in zip(table["pair"], table["unit"], strict=True)]
    at = np.array(half_0) & (table["arm"] == "exchange")
    sign = np.where(table["side"] == "one", 1.0, -1.0)
    table.loc[at, "log_odds"] += (0.6 * sign * table["pair"].map(GAPS))[at]
    first, second = analyse(table, found, GAPS, PLAN).halves
    assert (first.place, second.place) == CHOSEN[::-1]
    assert first.mediated.share == pytest.approx(0.0, abs=0.05)
    assert second.mediated.share == pytest.approx(0.6, abs=0.05)
    assert second.net_p < 0.05
    assert second.rank_p == 1 / 40 < first.rank_p
    assert first.n_units + second.n_units == 18


def test_a_unit_tested_at_its_own_halfs_place_is_refused():
    table, found = continuations(CARRIES, n_units=3, n_draws=2)
    swapped = replace(found, chosen=CHOSEN[::-1])
    with pytest.raises(ContractError, match="which the half without it chose"):
        analyse(table, swapped, GAPS, PLAN)
    fewer = replace(found, half_of=dict(list(found.half_of.items())[1:]))
    with pytest.raises(ContractError, match="have been dealt to a half"):
        analyse(table, fewer, GAPS, PLAN)


def test_the_factors_are_mediated_in_their_own_unit():
    factors = analysed({"exchange": 0.6, "necessity": 0.4}, noise=0.1).factors
    for pair in PAIRS:
        rows = factors[factors["pair"] == pair]
        assert len(rows) == 4
        assert rows["whole"].tolist() == pytest.approx([GAPS[pair]] * 4, rel=0.02)
        assert rows["mediated"].tolist() == pytest.approx([0.5 * GAPS[pair]] * 4, rel=0.03)
        assert (rows["low"] < 0.5 * GAPS[pair]).all()
        assert (rows["high"] > 0.5 * GAPS[pair]).all()


def simulated(seed: int, *, one_place: bool = True, **about: float) -> Evidence:
    effects, half_of = noisy_effects(np.random.default_rng(seed), **about)
    plan = replace(PLAN, n_flips=399)
    rng = np.random.default_rng(10_000 + seed)
    return evidence_of(effects, arms_of(effects, plan, rng), half_of, plan, rng, one_place=one_place)


def at_most(n: int, rate: float) -> int:
    return int(stats.binom.ppf(0.995, n, rate))


def test_the_level_of_flips_and_verdict_holds_without_an_effect():
    n = 300
    nothing = [simulated(seed) for seed in range(n)]
    low, high = stats.binom.ppf([0.005, 0.995], n, 0.05)
    for name in ("mediated", "sufficiency", "necessity"):
        assert low <= sum(getattr(one, name).p < 0.05 for one in nothing) <= high, name
    assert low <= sum(one.net_p < 0.05 for one in nothing) <= high
    claimed = sum(judge_use(one, BARS, of_judge=False).verdict in ("weak", "strong") for one in nothing)
    assert claimed <= at_most(n, 0.05)


def test_the_level_holds_where_any_direction_would_move_the_music():
    """The exchange is one direction of many, the same in both halves: flips alone claim it."""
    n = 300
    lucky = [simulated(seed, one_place=False, direction=0.5, spread=0.1) for seed in range(n)]
    assert sum(one.net_p < 0.05 for one in lucky) > n / 2
    assert sum(one.rank_p <= 0.025 for one in lucky) <= at_most(n, 0.025)
    claimed = sum(judge_use(one, BARS, of_judge=False).verdict in ("weak", "strong") for one in lucky)
    assert claimed <= at_most(n, 0.025)


def test_the_level_of_the_rank_of_all_units_holds_where_halves_share_their_directions():
    n = 800
    drawn = (
        noisy_effects(np.random.default_rng(seed), direction=0.5, spread=0.1, shared=True)
        for seed in range(n)
    )
    assert sum(rank_p(effects) <= 0.025 for effects, _ in drawn) <= at_most(n, 0.025)


def test_the_rank_of_each_half_counts_and_not_that_of_their_mean():
    """Directions of two halves average out; the exchange's one direction does not."""
    n, pooled, counted = 800, 0, 0
    plan, rng = replace(PLAN, n_flips=9), np.random.default_rng(0)
    for seed in range(n):
        effects, half_of = noisy_effects(np.random.default_rng(seed), direction=0.5, spread=0.01)
        pooled += rank_p(effects) <= 0.025
        larger = max(rank_p(effects.of(np.flatnonzero(half_of == half))) for half in (0, 1))
        counted += larger <= 0.025
        if seed < 20:
            arms = arms_of(effects, plan, rng)
            assert evidence_of(effects, arms, half_of, plan, rng, one_place=False).rank_p == larger
            together = evidence_of(effects, arms, half_of, plan, rng, one_place=True)
            assert together.rank_p == rank_p(effects)
    assert counted <= at_most(n, 0.025) < pooled


def test_a_strong_mediator_is_claimed_nearly_always():
    claimed = [
        judge_use(simulated(seed, mediated=0.6, spread=0.15), BARS, of_judge=False).verdict
        for seed in range(100)
    ]
    assert claimed.count("weak") > 75
