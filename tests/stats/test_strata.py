"""Strata of nuisances: kept where the design can exchange within them, given up least associated first."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import binom

from moodlens.stats.design import blocks_of
from moodlens.stats.gram import centred
from moodlens.stats.location import located
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings
from moodlens.stats.strata import association, strata_of

LABELS = np.repeat([0, 1, 2, 3], 8)
UNITS = np.arange(32)
SLOTS = [str(slot) for slot in np.tile(np.arange(8), 4)]


def test_a_crossed_nuisance_is_held_fixed():
    found = strata_of(LABELS, UNITS, {"template": SLOTS, "key": ["c"] * 32})
    assert (found.held, found.free) == (("template", "key"), ())
    blocks = blocks_of(UNITS, found.codes)
    table = relabellings(LABELS, 50, np.random.default_rng(0), blocks)
    for slot in range(8):  # every emotion stays once in every slot
        assert (np.sort(table[:, slot::8], axis=1) == [0, 1, 2, 3]).all()


def test_a_nuisance_that_leaves_too_few_relabellings_is_given_up_and_the_coarsest_of_equals_kept():
    two = np.repeat([0, 1], 6)
    slots = [str(slot) for slot in np.tile(np.arange(6), 2)]  # 2^6 / 2 relabellings
    halves = [str(slot % 2) for slot in np.tile(np.arange(6), 2)]  # C(6, 3)^2 / 2 = 200
    assert strata_of(two, np.arange(12), {"template": slots}).held == ()
    assert strata_of(two, np.arange(12), {"set": halves, "template": slots}).free == ("set", "template")
    many = np.repeat([0, 1], 12)
    thirds = [str(slot // 4) for slot in np.tile(np.arange(12), 2)]  # C(8, 4)^3 / 2
    alone = [str(unit) for unit in range(24)]
    assert strata_of(many, np.arange(24), {"set": thirds, "genre": alone}).held == ("set",)
    assert strata_of(many, np.arange(24), {"genre": alone, "set": thirds}).free == ("genre",)


def test_of_two_nuisances_the_one_that_tells_the_emotion_stays():
    """Both together leave too few relabellings; instrument goes with emotion, room does not."""
    instrument = [
        "piano" if unit % 8 < (6 if label < 2 else 2) else "flute"
        for unit, label in zip(UNITS, LABELS, strict=True)
    ]
    room = [str(unit % 16) for unit in UNITS]
    found = strata_of(LABELS, UNITS, {"instrument": instrument, "room": room})
    assert found.held == ("instrument",)
    always = ["piano", "flute", "organ", "strings"]  # one for each emotion: nothing can be exchanged
    own = strata_of(LABELS, UNITS, {"instrument": [always[k] for k in LABELS], "template": SLOTS})
    assert (own.held, own.free) == (("template",), ("instrument",))


def test_a_nuisance_that_would_tie_many_units_to_their_label_is_given_up_though_relabellings_abound():
    labels = np.repeat([0, 1, 2, 3], 16)
    shared = [str(unit % 16) if unit % 16 < 8 else f"{unit} alone" for unit in range(64)]
    assert strata_of(labels, np.arange(64), {"room": shared}).free == ("room",)
    few = [str(unit % 16) if unit % 16 < 15 else f"{unit} alone" for unit in range(64)]
    assert strata_of(labels, np.arange(64), {"room": few}).held == ("room",)


def test_the_more_associated_nuisance_comes_first_even_with_more_values():
    labels = np.repeat([0, 1], 12)
    instrument = [*"aaaaabbbcccd", *"abbbcccddddd"]
    room = [str(unit % 3) for unit in range(24)]
    for nuisances in ({"instrument": instrument, "room": room}, {"room": room, "instrument": instrument}):
        assert strata_of(labels, np.arange(24), nuisances).held == ("instrument",)
    assert strata_of(labels, np.arange(24), {"room": room}).held == ("room",)


def test_units_of_many_prompts_are_compared_by_all_of_them():
    labels, members = np.repeat([0, 1], 40), np.repeat(np.arange(40), 2)
    template = [str(prompt % 4) for prompt in range(80)]
    blocks = blocks_of(members, strata_of(labels, members, {"template": template}).codes)
    assert blocks.tolist() == [0, 1] * 20 or blocks.tolist() == [1, 0] * 20


def test_association_is_that_of_chi_square_and_zero_on_average():
    rng = np.random.default_rng(0)
    codes, labels = rng.integers(0, 3, 60), rng.integers(0, 4, (2000, 60))
    observed = np.array([[np.sum((codes == v) & (labels[0] == k)) for k in range(4)] for v in range(3)])
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / 60
    assert (expected > 0).all()
    chi = float(scipy_stats.chisquare(observed.ravel(), expected.ravel()).statistic)
    assert association(codes, labels)[0] == pytest.approx((chi / 60 - 6 / 59) / 2)
    assert association(codes, labels).mean() == pytest.approx(0, abs=0.005)
    assert association(np.zeros(60, dtype=int), labels[:1]).tolist() == [0]


def test_an_instrument_that_goes_with_emotion_raises_no_alarm_within_strata():
    """The instrument moves the sound, emotion does not; relabelling across instruments finds 'emotion'."""
    labels = np.repeat([0, 1], 20)
    piano = np.tile(np.arange(20), 2) < np.where(labels == 0, 14, 6)
    strata = strata_of(labels, np.arange(40), {"instrument": piano.astype(str).tolist()})
    alarms = {"across": 0, "within": 0}
    for seed in range(200):
        rng = np.random.default_rng([seed, 8])
        rows = rng.standard_normal((40, 5)) + 2 * piano[:, None]
        rows -= rows.mean(axis=0)
        for name, blocks in (("across", None), ("within", blocks_of(np.arange(40), strata.codes))):
            table = relabellings(labels, 99, rng, blocks)
            alarms[name] += p_values(pseudo_f((rows @ rows.T)[None], table))[0] <= 0.05
    assert alarms["across"] > 60
    assert alarms["within"] <= binom.ppf(0.999, 200, 0.05)


@pytest.mark.parametrize("scales", [(1, 1, 1, 1), (3, 1, 1, 1)])
def test_within_slots_the_level_holds_and_an_effect_is_seen_that_free_relabelling_misses(scales):
    """Slots move all emotions alike. Spreads are equal, or that of one emotion is three times as wide."""
    labels, slots, n_sims = np.tile(np.arange(4), 9), np.repeat(np.arange(9), 4), 150
    alarms, seen = {"free": 0, "within": 0}, {"free": 0, "within": 0}
    for seed in range(n_sims):
        rng = np.random.default_rng([seed, 12])
        noise = rng.standard_normal((36, 6)) * np.array(scales)[labels][:, None]
        quiet = noise + 3 * rng.standard_normal((9, 6))[slots]
        moved = quiet + 1.8 * max(scales) * (labels == 2)[:, None] * np.eye(6)[0]
        for rows, count in ((quiet, alarms), (moved, seen)):
            gram = centred(rows @ rows.T)[None]
            for name, blocks in (("free", None), ("within", slots)):
                count[name] += p_values(located(gram, relabellings(labels, 99, rng, blocks)))[0] <= 0.05
    assert alarms["free"] == 0
    assert alarms["within"] <= binom.ppf(0.999, n_sims, 0.06)
    assert seen["within"] > 0.5 * n_sims > 5 * seen["free"]
