from dataclasses import replace

import pytest

from moodlens.base.errors import ContractError
from moodlens.decision.evidence import Baseline, Evidence, Gain, TransferEvidence
from moodlens.decision.ladder import RUNGS, SOURCES, decide, judge
from tests.decision.thresholds import THRESHOLDS

BEATEN = Baseline("bag of words", 0.2, 0.7, 0.6, 0.8, 0.0005)
TIED = Baseline("bag of words", 0.2, 0.05, -0.1, 0.2, 0.3)
FOUND = Evidence(
    site="tokens",
    unit="wording",
    n_emotions=4,
    n_per_emotion=16,
    n_permutations=2000,
    smallest_p=1 / 2001,
    accuracy=0.9,
    low=0.83,
    high=0.96,
    ridge_accuracy=0.85,
    permuted_extreme=0.5,
    p=1 / 2001,
    effect=0.2,
    effect_low=0.15,
    effect_high=0.25,
    p_signal=0.0001,
    delta=0.02,
    power=0.3,
    n_needed=60,
    baselines=(BEATEN,),
    n_units=36,
    n_folds=8,
    units_needed=30,
    units_available=120,
)
SILENT = replace(
    FOUND, accuracy=0.27, low=0.15, high=0.4, ridge_accuracy=0.28, p=0.6, effect=0.001, effect_low=-0.02,
    effect_high=0.02, p_signal=0.5, baselines=(TIED,),
)  # fmt: skip


def test_every_condition_of_a_strong_claim_counts():
    assert judge("music", FOUND, THRESHOLDS).verdict == "strong"
    for change in (
        {"p": 0.01},
        {"accuracy": 0.7},
        {"effect": 0.03},
        {"ridge_accuracy": 0.49},
    ):
        rung = judge("music", replace(FOUND, **change), THRESHOLDS)
        assert rung.verdict == "weak", change
        assert "not strong, because" in rung.rule


def test_every_condition_of_a_weak_claim_counts():
    for change in (
        {"p": 0.2},
        {"accuracy": 0.55},
        {"effect": 0.01},
        {"baselines": (TIED,)},
        {"baselines": (BEATEN, replace(TIED, name="random twin"))},
        {"gains": (Gain("acoustics", 0.1, 0.04, 0.2), Gain("tokens", 0.02, -0.01, 0.05))},
    ):
        assert judge("music", replace(FOUND, **change), THRESHOLDS).verdict == "undecided", change


def test_none_is_said_only_where_an_effect_would_have_been_seen():
    rung = judge("music", SILENT, THRESHOLDS)
    assert rung.verdict == "undecided"
    assert rung.more_wordings == 21
    assert "21 more wordings per emotion (30 in all)" in rung.next_step
    assert "raise prompts.n_per_emotion to 54" in rung.next_step  # 30 wordings, 16 / 9 prompts each
    assert judge("music", replace(SILENT, power=0.96), THRESHOLDS).verdict == "none"
    assert judge("music", replace(SILENT, power=0.96, p_signal=0.01), THRESHOLDS).verdict == "undecided"


def test_advice_ends_at_the_wordings_that_the_prompt_sets_hold():
    short = judge("music", replace(SILENT, units_available=29), THRESHOLDS)
    assert short.more_wordings is None
    assert (
        "about 30 wordings per emotion are expected to settle it and the prompt sets hold 29"
        in short.next_step
    )
    decision = decide({"music": replace(SILENT, units_available=29)}, THRESHOLDS)
    assert "more wordings of these prompt sets are not expected to settle it" in decision.headline
    assert "21 more wordings per emotion" in decide({"music": SILENT}, THRESHOLDS).headline
    assert judge("music", FOUND, THRESHOLDS).more_wordings is None


def test_undecided_says_when_wordings_will_not_help():
    worse = replace(TIED, difference=-0.1)
    behind = judge("music", replace(FOUND, baselines=(worse,)), THRESHOLDS)
    assert behind.more_wordings is None
    assert "not expected to settle" in behind.next_step
    close = judge(
        "music", replace(FOUND, baselines=(replace(TIED, difference=0.1, low=-0.05, high=0.25),)), THRESHOLDS
    )
    assert close.more_wordings == 12  # 9 x (0.15 / 0.1)^2 = 20.25


@pytest.mark.parametrize(
    ("text_code", "music", "highest"),
    [(FOUND, FOUND, "music"), (FOUND, SILENT, "text_code"), (SILENT, SILENT, "")],
    ids=["organism", "shuffled", "random"],
)
def test_the_ladder_names_the_highest_rung_and_infers_none(text_code, music, highest):
    layers = replace(FOUND, site="residual.3/cond")
    decision = decide({"text_code": text_code, "music": music, "layers": layers}, THRESHOLDS)
    assert decision.highest == highest
    assert [rung.name for rung in decision.rungs] == list(RUNGS)
    assert decision.rungs[-1].verdict == "untested"
    assert decision.layers.verdict == "strong"
    assert decision.layers.rule.endswith("it does not show that the model uses its states.")
    assert "under null text" in decision.layers.next_step


@pytest.mark.parametrize("beside", ["words", "null_text", "layers"])
def test_what_stands_beside_the_ladder_reaches_no_rung(beside: str):
    bare = decide({"text_code": SILENT}, THRESHOLDS)
    decision = decide({"text_code": SILENT, beside: FOUND}, THRESHOLDS)
    assert decision.rungs == bare.rungs
    assert (decision.highest, decision.headline) == ("", bare.headline)


def test_without_clips_music_is_untested_and_what_was_not_measured_is_none():
    decision = decide({"text_code": FOUND}, THRESHOLDS)
    assert decision.highest == "text_code"
    assert decision.rungs[1].verdict == decision.layers.verdict == "untested"
    assert decision.words is decision.null_text is None


def test_a_threshold_that_the_design_cannot_reach_is_refused_with_the_number():
    with pytest.raises(
        ContractError, match="rung music must have at least 3 wordings for each of 4 emotions"
    ):
        judge("music", replace(FOUND, smallest_p=0.01), THRESHOLDS)
    with pytest.raises(ContractError, match="relabellings for rung music must be at least 1000"):
        judge("music", replace(FOUND, smallest_p=0.01, n_permutations=99), THRESHOLDS)


def forks(**verdicts: str) -> dict[str, object]:
    share = {"step_s": 0.6, "share": 0.9, "low": 0.8, "high": 1.0, "p": 0.001, "rule": "p is small"}
    sources = {
        name: {**share, "verdict": verdicts.get(name, "none")} for name in ("music", "memory", "reading")
    }
    return {"applies": True, "reason": "", "main": {"sources": sources}}


def test_the_sources_are_answered_and_not_climbed():
    decision = decide({"text_code": FOUND}, THRESHOLDS, forks(reading="strong"))
    by_name = {rung.name: rung for rung in decision.rungs}
    assert decision.highest == "text_code"
    assert (by_name["source_reading"].verdict, by_name["source_memory"].verdict) == ("strong", "none")
    assert by_name["source_reading"].effect == 0.9
    assert "read again from the text and not remembered" in decision.headline


@pytest.mark.parametrize("given", [None, {}, {"applies": False, "reason": "the model prepends its text"}])
def test_sources_without_forks_are_untested_and_say_why(given: dict[str, object] | None):
    decision = decide({"text_code": FOUND}, THRESHOLDS, given)
    sources = [rung for rung in decision.rungs if rung.name in SOURCES]
    assert {rung.verdict for rung in sources} == {"untested"}
    assert ("prepends" in sources[0].rule) == bool(given)
    assert "read again" not in decision.headline


def interchange(verdict: str) -> dict[str, object]:
    use = {"verdict": verdict, "rule": "it moves", "share": 0.6, "low": 0.4, "high": 0.8, "p": 0.002}
    halves = [{"place": "residual.2"}, {"place": "residual.3"}]
    return {"applies": True, "reason": "", "use": use, "halves": halves}


def test_use_is_decided_by_interchange_and_climbed():
    evidence = {"text_code": FOUND, "music": FOUND}
    decision = decide(evidence, THRESHOLDS, interchange=interchange("weak"))
    use = decision.rungs[-1]
    assert (use.name, use.verdict, use.effect, use.low, use.high) == ("use", "weak", 0.6, 0.4, 0.8)
    assert "after layer 2 (residual.2) and the residual stream after layer 3" in use.statistic
    assert decision.highest == "use"
    assert "moves the music from one emotion to the other (weak evidence)" in decision.headline


@pytest.mark.parametrize(("verdict", "shown"), [("strong", "undecided"), ("none", "none")])
def test_states_are_not_said_to_be_used_where_the_music_shows_no_emotion(verdict: str, shown: str):
    decision = decide({"music": SILENT}, THRESHOLDS, interchange=interchange(verdict))
    use = decision.rungs[-1]
    assert use.verdict == shown
    assert ("the rung music is not reached" in use.rule) == (verdict == "strong")
    assert decision.highest == ""


@pytest.mark.parametrize("given", [None, {}, {"applies": False, "reason": "the model prepends its text"}])
def test_use_without_interchange_is_untested_and_says_why(given: dict[str, object] | None):
    use = decide({"text_code": FOUND}, THRESHOLDS, interchange=given).rungs[-1]
    assert use.verdict == "untested"
    assert ("prepends" in use.rule) == bool(given)
    assert "dvc repro interchange" in use.next_step


def test_a_design_that_allows_no_verdict_closes_the_rungs_that_relabel_wordings():
    decision = decide(
        {"text_code": FOUND, "music": FOUND},
        THRESHOLDS,
        forks(reading="strong"),
        design_reasons=["Keys differ."],
    )
    by_name = {rung.name: rung for rung in decision.rungs}
    assert by_name["text_code"].verdict == by_name["music"].verdict == "undecided"
    assert "Keys differ." in by_name["music"].rule
    assert by_name["source_reading"].verdict == "strong", "its units are not relabelled"
    assert by_name["use"].verdict == "untested"


MOVED = TransferEvidence(p=0.002, smallest_p=1 / 576, mean_accuracy=0.8)
ONE_SET = TransferEvidence(None, None, None, "the prompts are of one set")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (MOVED, "strong"),
        (replace(MOVED, p=0.04), "strong"),
        (replace(MOVED, p=0.06), "undecided"),
        (ONE_SET, "weak"),
        (None, "strong"),
    ],
)
def test_transfer_between_sets_is_a_condition_of_both_claims(found, verdict):
    rung = judge("text_code", replace(FOUND, transfer=found), THRESHOLDS)
    assert rung.verdict == verdict
    if found is ONE_SET:
        assert "not strong, because transfer between prompt sets not tested, because the prompts" in rung.rule
    elif found is not None:
        assert "accuracy 0.800 on average" in rung.rule


def test_so_few_renamings_that_none_is_rare_leave_transfer_untested():
    few = TransferEvidence(p=0.25, smallest_p=0.25, mean_accuracy=1.0)  # 2 emotions in 3 sets
    rung = judge("text_code", replace(FOUND, transfer=few), THRESHOLDS)
    assert rung.verdict == "weak"
    assert "not tested, because so few emotions and sets" in rung.rule


def test_the_statistic_says_that_training_folds_choose_the_site():
    assert (
        "its site chosen in each training fold (best on all prompts: tokens)"
        in judge("music", FOUND, THRESHOLDS).statistic
    )
