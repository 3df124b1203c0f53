"""Transfer between sets: planted content, its level on nulls, and what cannot be tested."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.probes.transfer import MOST_RENAMINGS, ONE_SET, Direction, Transfer, one_code_p, transfer
from moodlens.stats.design import Design, design_of

EMOTIONS = ("happy", "sad", "calm", "energetic")
SETS = ("moods", "scenes", "terms")


def crossed_sets(n: int = 4) -> tuple[Design, list[str]]:
    """n wordings of every emotion in every set, each in two prompts."""
    rows = [(e, s, i) for e in EMOTIONS for s in SETS for i in range(n) for _ in range(2)]
    made = design_of(
        [f"p{i}" for i in range(len(rows))], [e for e, _, _ in rows], [f"{e} {s} {i}" for e, s, i in rows]
    )
    return made, [s for _, s, _ in rows]


def grams(
    made: Design, sets: list[str], rng: np.random.Generator, *, shared: float, own: float
) -> np.ndarray:
    """Content of emotion common to all sets (`shared`), or peculiar to each (`own`); wordings alike."""
    common = rng.normal(size=(4, 24))[made.labels]
    peculiar = rng.normal(size=(3, 4, 24))[np.unique(sets, return_inverse=True)[1], made.labels]
    wording = rng.normal(size=(made.wordings.max() + 1, 24))[made.wordings]
    rows = shared * common + own * peculiar + wording + 0.3 * rng.normal(size=wording.shape)
    rows -= rows.mean(axis=0)
    return rows @ rows.T


def test_content_that_sets_share_is_carried_in_every_direction():
    made, sets = crossed_sets()
    found = transfer(grams(made, sets, np.random.default_rng(0), shared=2, own=0), made, sets, 0.1, 499, 0)
    assert {(each.train, each.test) for each in found.directions} == {
        (a, b) for a in SETS for b in SETS if a != b
    }
    assert all(each.n_train == each.n_test == 32 for each in found.directions)
    assert found.mean_accuracy == pytest.approx(np.mean([each.accuracy for each in found.directions]))
    assert all(each.accuracy > 0.8 for each in found.directions)
    assert found.p == found.smallest_p == 1 / 500
    assert found.p_code == found.smallest_p_code == 1 / 576


def test_sets_with_a_code_each_are_not_said_to_share_one():
    """Emotions of one set fall on those of another by chance: relabelled wordings do not answer for that."""
    made, sets = crossed_sets()
    n_sims, one_code, relabelled = 120, 0, 0
    for seed in range(n_sims):
        gram = grams(made, sets, np.random.default_rng([seed, 5]), shared=0, own=2)
        found = transfer(gram, made, sets, 0.1, 199, seed)
        assert found.p is not None
        assert found.p_code is not None
        relabelled += found.p <= 0.05
        one_code += found.p_code <= 0.05
    assert one_code <= binom.ppf(0.9995, n_sims, 0.05)
    assert relabelled > binom.ppf(0.9995, n_sims, 0.05)


def test_the_best_of_six_directions_keeps_the_level_where_wordings_have_nothing_in_common():
    made, sets = crossed_sets()
    n_sims, best, single = 200, 0, 0
    for seed in range(n_sims):
        gram = grams(made, sets, np.random.default_rng([seed, 7]), shared=0, own=0)
        found = transfer(gram, made, sets, 0.1, 199, seed)
        best += min(each.p_max for each in found.directions) <= 0.05
        single += min(each.p for each in found.directions) <= 0.05
        assert all(each.p_max >= each.p for each in found.directions)
    assert best <= binom.ppf(0.9995, n_sims, 0.05)
    assert single > binom.ppf(0.9995, n_sims, 0.05), "without the maximum the level is lost"


@pytest.mark.parametrize(("n_classes", "n_sets", "least"), [(4, 3, 1 / 576), (2, 3, 1 / 4), (4, 2, 1 / 24)])
def test_renamings_count_emotions_and_sets(n_classes: int, n_sets: int, least: float):
    names = [str(i) for i in range(n_sets)]
    perfect = [
        Direction(a, b, 4, 4, 1.0, 0.1, 0.1, np.eye(n_classes)) for a in names for b in names if a != b
    ]
    assert one_code_p(perfect, np.random.default_rng(0)) == (pytest.approx(least), pytest.approx(least))


def test_five_emotions_in_four_sets_draw_a_sample_of_renamings():
    perfect = [Direction(a, b, 4, 4, 1.0, 0.1, 0.1, np.eye(5)) for a in "abcd" for b in "abcd" if a != b]
    p, least = one_code_p(perfect, np.random.default_rng(0))
    assert least == 1 / MOST_RENAMINGS
    assert p < 5 / MOST_RENAMINGS


def test_a_probe_of_renamed_emotions_is_the_renamed_probe():
    """The confusion counts of a probe refitted on renamed emotions are those of the probe, renamed."""
    made, sets = crossed_sets()
    gram = grams(made, sets, np.random.default_rng(1), shared=0.5, own=0.5)
    order = np.array([2, 0, 3, 1])
    rename = np.where(np.array(sets) == "scenes", order[made.labels], made.labels)
    (plain,) = (
        d
        for d in transfer(gram, made, sets, 0.1, 9, 0).directions
        if (d.train, d.test) == ("moods", "scenes")
    )
    renamed = replace(made, labels=rename)
    (other,) = (
        d
        for d in transfer(gram, renamed, sets, 0.1, 9, 0).directions
        if (d.train, d.test) == ("moods", "scenes")
    )
    np.testing.assert_allclose(other.confusion[order], plain.confusion)


def test_prompts_of_one_wording_are_relabelled_together():
    """Wordings alike within, none of it emotion: prompts relabelled one by one would alarm too often."""
    made, sets = crossed_sets()
    n_sims, alarms = 120, 0
    for seed in range(n_sims):
        gram = grams(made, sets, np.random.default_rng([seed, 6]), shared=0, own=0)
        p = transfer(gram, made, sets, 0.1, 199, seed).p
        assert p is not None
        alarms += p <= 0.05
    assert binom.ppf(0.0005, n_sims, 0.05) <= alarms <= binom.ppf(0.9995, n_sims, 0.05)


def test_a_unit_that_stands_in_both_sets_is_not_tested():
    made, sets = crossed_sets()
    sets[1] = "scenes"  # the second prompt of a wording of the moods
    gram = grams(made, sets, np.random.default_rng(0), shared=2, own=0)
    sizes = {
        (each.train, each.test): (each.n_train, each.n_test)
        for each in transfer(gram, made, sets, 0.1, 99, 0).directions
    }
    assert sizes["scenes", "moods"] == (33, 30)
    assert sizes["moods", "scenes"] == (31, 32)
    assert sizes["terms", "scenes"] == (32, 33)


def test_a_set_without_all_emotions_gives_no_direction_and_one_set_is_not_tested():
    made, sets = crossed_sets()
    gram = grams(made, sets, np.random.default_rng(0), shared=2, own=0)
    partly = ["terms" if s == "scenes" and k == 0 else s for s, k in zip(sets, made.labels, strict=True)]
    found = transfer(gram, made, partly, 0.1, 99, 0)
    assert {each.train for each in found.directions} == {"moods", "terms"}
    alone = transfer(gram, made, ["moods"] * made.n_prompts, 0.1, 99, 0)
    assert alone == Transfer((), None, not_tested=ONE_SET)
    assert (alone.p, alone.mean_accuracy) == (None, None)


def test_p_is_that_of_the_best_direction():
    each = (("a", "b", 4, 4, 0.5, 0.2, 0.4), ("b", "a", 4, 4, 1.0, 0.01, 0.02))
    found = Transfer(tuple(Direction(*numbers, np.eye(2)) for numbers in each), 0.01)
    assert found.p == 0.02
    assert found.mean_accuracy == 0.75
