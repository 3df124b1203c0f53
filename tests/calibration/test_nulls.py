"""The nulls that broke the first edition: the pipeline's tests hold there, those it left behind do not."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from moodlens.base.seeding import rng_for
from moodlens.calibration import design_nulls, fork_nulls, reader_nulls
from moodlens.calibration.nulls import Null, null_alarms, promised
from moodlens.calibration.simulate import Promise, World

ROOT = Path(__file__).parents[2]
NULLS = {null.name: null for null in (*reader_nulls.NULLS, *design_nulls.NULLS, *fork_nulls.NULLS)}


def rates(name: str, n: int) -> dict[str, float]:
    null = NULLS[name]
    alarms = null_alarms(null, [rng_for("test null", name, sim) for sim in range(n)])
    assert all(each.verdict != "too liberal" for each in alarms), name
    return {each.name.removeprefix(f"{name}: "): each.rate.value for each in alarms}


def test_a_null_counts_the_alarms_of_each_test():
    tests = {"by sign": promised(0.05), "loud": Promise(carries_claim=False)}
    null = Null("coin", World(20, 2, 0.3), lambda rng: {"by sign": rng.random() < 0.05, "loud": True}, tests)
    sign, loud = null_alarms(null, [rng_for("coin", sim) for sim in range(200)])
    assert (sign.name, sign.verdict, loud.rate.value, loud.verdict) == (
        "coin: by sign",
        "ok",
        1.0,
        "not valid",
    )
    assert (sign.n_prompts, sign.n_clips, sign.icc) == (20, 40, 0.3)


def test_equal_content_elsewhere_is_no_gain_unless_it_is_read_at_the_models_site():
    found = rates("equal content at another site", 12)
    assert found[reader_nulls.GAIN] == 0
    assert found[reader_nulls.AT_THE_MODELS_SITE] > 0.8


def test_an_untrained_memory_beats_single_states_and_is_not_claimed():
    found = rates("an untrained memory in place of the model", 10)
    assert found[reader_nulls.MEAN_CLAIMED] == found[reader_nulls.LEAK_CLAIMED] == 0
    assert found[reader_nulls.ABOVE_STATES] > 0.3


def test_a_running_mean_and_a_leak_by_hand():
    states = np.array([[[[2.0], [4.0], [0.0]]]])
    assert reader_nulls.remembered(states, None) is states
    assert reader_nulls.remembered(states, 1.0).ravel().tolist() == [2.0, 3.0, 2.0]
    assert reader_nulls.remembered(states, 0.5).ravel().tolist() == [2.0, 5.0, 2.5]


@pytest.mark.parametrize(
    ("name", "left_behind", "least"),
    [
        ("emotions of few wordings spread wider", design_nulls.NO_WELCH, 0.25),
        ("near-duplicate wordings", design_nulls.EACH_WORDING, 0.7),
        ("instrument half confounded with emotion", design_nulls.NO_STRATA, 0.5),
        ("instrument confounded with emotion", design_nulls.NO_STRATA, 0.9),
    ],
)
def test_designs_that_broke_it_are_held_by_units_strata_and_welch(name: str, left_behind: str, least: float):
    found = rates(name, 30)
    assert found[left_behind] > least


def test_a_fully_confounded_instrument_closes_the_rung():
    assert rates("instrument confounded with emotion", 20)[design_nulls.CLOSED] == 0


def test_wordings_of_other_sizes_are_other_blocks():
    design = design_nulls.SIZED
    assert len(set(design.blocks("wording"))) == 2
    assert len(set(design_nulls.APART.wordings)) == 3 * len(set(design_nulls.MERGED.wordings))


def test_dealt_words_do_not_identify_the_label():
    assert rates("wordings dealt to labels at random", 30)[design_nulls.RECURRING] <= 0.1


def test_forks_keep_their_level_without_memory_and_rarely_say_none_at_the_margin():
    assert rates("forks without memory", 40)[fork_nulls.STEP_05] <= 0.2
    for sign in "+-":
        assert rates(f"forks with memory of {sign}0.1 at one step", 30)[fork_nulls.NONE] <= 0.15


def test_forks_find_a_memory_and_say_none_where_there_is_none():
    def given(share: float, n_units: int) -> list[str]:
        forked = fork_nulls.Forked((share,) * 3, (0.1,) * 3, n_units, n_flips=1999)
        return fork_nulls.verdicts(forked, [rng_for("test forks", sim) for sim in range(8)])

    assert given(0.5, 18) == ["strong"] * 8
    assert given(0.0, 64).count("none") >= 6


def test_the_simulated_shares_are_those_that_are_recovered():
    series, total, _ = fork_nulls.experiment(
        fork_nulls.Forked((0.6, 0.0, -0.3), (0.05,) * 3, 64, 199), rng_for("shares")
    )
    assert total.moved
    assert [share.share for share in series.shares] == pytest.approx([0.6, 0.0, -0.3], abs=0.05)
    assert [share.donor for share in series.shares] == pytest.approx([0.0] * 3, abs=0.05)


def test_the_bars_are_those_of_the_pipeline():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    decide, forks, bars = params["decide"], params["forks"], fork_nulls.BARS
    assert (bars.alpha_strong, bars.alpha_weak) == (decide["alpha_strong"], decide["alpha_weak"])
    assert (bars.share_strong, bars.share_weak) == (forks["share_strong"], forks["share_weak"])
    assert bars.margin == forks["margin"]
    assert forks["confidence"] == fork_nulls.CONFIDENCE
