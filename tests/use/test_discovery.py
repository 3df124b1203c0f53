"""The place of each half: found where it was planted, and never with the help of the other half."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from moodlens.base.errors import ContractError, Unsupported
from moodlens.use.discovery import deal, find
from tests.use.planted import PAIRS, PLACES, found_of, rows_of, scores_of


def units(n: int, pairs: tuple[str, ...] = PAIRS) -> list[tuple[str, str]]:
    return [(pair, f"{unit}") for pair in pairs for unit in range(n)]


def test_every_pair_of_emotions_is_split_evenly_and_so_is_the_sum():
    for seed in range(5):
        half_of = deal(units(9, (*PAIRS, "angry - calm")), seed)
        by_pair = Counter((pair, half) for (pair, _), half in half_of.items())
        assert set(by_pair.values()) == {4, 5}
        assert sorted(Counter(half_of.values()).values()) == [13, 14]


def test_the_halves_depend_on_the_seed_and_not_on_the_order_of_units():
    assert deal(units(9), 0) == deal(units(9)[::-1], 0)
    assert len({tuple(deal(units(9), seed).values()) for seed in range(5)}) == 5


def test_too_few_units_are_refused():
    with pytest.raises(Unsupported, match="at least 6 units; got 4"):
        deal(units(2), 0)


def test_both_halves_find_the_planted_place():
    found = find(scores_of([0.0, 0.1, 0.6, 0.3], noise=0.1), 0, 999, 0.95)
    assert found.chosen == (PLACES[2], PLACES[2])
    by_name = {one.place.name: one for one in found.candidates}
    best = by_name["residual.2"]
    assert best.share == pytest.approx(0.6, abs=0.03)
    assert best.low < best.share < best.high
    assert best.p == 1 / 1000 < max(best.half_p) < 0.05
    assert by_name["residual.0"].p > 0.05
    assert found.whole["energetic - calm"] == pytest.approx(4.0, rel=0.05)
    assert found.whole["happy - sad"] == pytest.approx(0.4, rel=0.05)
    assert found.whole_p < 0.01


def test_a_unit_is_tested_where_the_other_half_chose():
    found = found_of(rows_of(4))
    for half in (0, 1):
        assert {found.tested_at(unit) for unit in found.units(half)} == {found.chosen[1 - half]}
    assert len(found.units(0)) + len(found.units(1)) == 8


@pytest.mark.parametrize("poisoned", [0, 1])
def test_the_test_half_has_no_say_in_its_own_place(poisoned: int):
    """Scores of one half are replaced by huge ones elsewhere: only the place that this half chooses moves."""
    table = scores_of([0.0, 0.1, 0.6, 0.3], noise=0.3)
    clean = find(table, 0, 99, 0.95)
    theirs = [
        clean.half_of[pair, unit] == poisoned for pair, unit in zip(table["pair"], table["unit"], strict=True)
    ]
    wrong = np.array(theirs) & (table["hookpoint"] == "residual.0")
    poison = table.copy()
    poison.loc[theirs, ["whole_one", "whole_other"]] *= 30
    for side in ("one", "other"):
        poison.loc[wrong, f"moved_{side}"] = 100 * poison.loc[wrong, f"whole_{side}"]
    found = find(poison, 0, 99, 0.95)
    assert found.chosen[poisoned] == PLACES[0] != clean.chosen[poisoned]
    assert found.chosen[1 - poisoned] == clean.chosen[1 - poisoned]
    kept = [one.t[1 - poisoned] for one in found.candidates]
    assert kept == [one.t[1 - poisoned] for one in clean.candidates]


def test_pairs_of_emotions_count_alike_however_much_their_texts_cost():
    """Place 1 moves happy - sad alone, whose whole is a tenth: its share is one half all the same."""
    table = scores_of([0.0, 1.0, 0.0, 0.0], noise=0.0)
    table.loc[table["pair"] == PAIRS[1], ["moved_one", "moved_other"]] = 0.0
    found = find(table, 0, 99, 0.95)
    assert found.candidates[1].share == pytest.approx(0.5)


def test_units_count_once_however_many_rows_they_have():
    table = scores_of([0.0, 0.1, 0.6, 0.3], n_seeds=1, noise=0.3)
    twice = table.assign(seed=1)
    many = find(pd.concat([table, twice], ignore_index=True), 0, 99, 0.95)
    once = find(table, 0, 99, 0.95)
    for more, one in zip(many.candidates, once.candidates, strict=True):
        assert more.t == pytest.approx(one.t)


def test_texts_that_help_the_wrong_clip_turn_no_sign():
    """Where the wholes are negative by chance, a place that moves most is still the one that is chosen."""
    found = find(scores_of([0.0, 0.1, 0.6, 0.3], whole=-0.2), 0, 99, 0.95)
    assert found.chosen == (PLACES[2], PLACES[2])
    assert found.candidates[2].share == pytest.approx(0.6, abs=0.03)


def test_an_exchange_that_makes_clips_more_likely_is_not_chosen():
    found = find(scores_of([-0.9, 0.1, 0.6, 0.3], noise=0.1), 0, 99, 0.95)
    assert found.chosen == (PLACES[2], PLACES[2])
    assert max(found.candidates[0].t) < 0


def test_a_model_without_any_effect_still_gets_a_place():
    found = find(scores_of([0.0] * 4, whole=0.0), 0, 99, 0.95)
    assert found.whole_p == 1.0
    assert {one.p for one in found.candidates} == {1.0}


def test_a_place_that_was_not_read_everywhere_is_refused():
    with pytest.raises(ContractError, match="1 places of units missing"):
        find(scores_of([0.0] * 4, n_seeds=1).drop(index=5), 0, 99, 0.95)
