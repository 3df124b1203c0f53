import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.stats.permutation import (
    p_values,
    relabellings,
    require_reachable,
    smallest_p,
    unit_orders,
    units_needed,
)

LABELS = np.array([0, 0, 0, 1, 1, 2])


def test_the_first_relabelling_is_the_observed_one_and_group_sizes_stay():
    table = relabellings(LABELS, 50, np.random.default_rng(0))
    assert table[0].tolist() == LABELS.tolist()
    assert (np.sort(table, axis=1) == np.sort(LABELS)).all()
    assert len(np.unique(table, axis=0)) > 20


def test_labels_stay_in_their_blocks():
    blocks = np.array([0, 1, 0, 1, 0, 1])
    table = relabellings(LABELS, 50, np.random.default_rng(0), blocks)
    for block in (0, 1):
        inside = table[:, blocks == block]
        assert (np.sort(inside, axis=1) == np.sort(LABELS[blocks == block])).all()


def test_p_counts_ties_and_the_observed_value():
    assert p_values(np.array([[5.0, 1, 2, 3], [1.0, 1 - 1e-8, 2, 0]])).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.repeat([0, 1], 7), 1 / 1716),  # C(14, 7) / 2
        (np.repeat([0, 1], 6), 1 / 462),
        (np.repeat([0, 1, 2, 3], 3), 1 / 15400),  # 12! / 3!^4 / 4!
        (np.array([0, 0, 1, 1, 1]), 1 / 10),  # unequal groups: no renaming
    ],
)
def test_the_smallest_p_counts_distinguishable_relabellings(labels, expected):
    assert smallest_p(labels, 10**9) == pytest.approx(expected)


def test_a_threshold_out_of_reach_says_what_would_reach_it():
    assert (units_needed(2, 0.001), units_needed(4, 0.001)) == (7, 3)
    few, enough = (smallest_p(np.repeat([0, 1], n), 9999) for n in (6, 7))
    with pytest.raises(
        ContractError, match=r"at least 7 prompts for each of 2 emotions .* smallest p of 0.0022"
    ):
        require_reachable("music", few, 9999, 2, "prompt", 0.001)
    with pytest.raises(ContractError, match=r"relabellings for music must be at least 1000 .* got 500"):
        require_reachable("music", 1 / 501, 500, 2, "prompt", 0.001)
    require_reachable("music", enough, 9999, 2, "prompt", 0.001)


def test_orders_are_permutations_within_blocks_and_agree_with_relabellings():
    labels, blocks = np.repeat([0, 1, 2], 8), np.tile([0, 1, 2, 3], 6)
    orders = unit_orders(24, 1500, np.random.default_rng(0), blocks)
    assert orders[0].tolist() == list(range(24))
    assert (np.sort(orders, axis=1) == np.arange(24)).all()
    assert (blocks[orders] == blocks).all()
    assert len(np.unique(orders[1:], axis=0)) == 1500
    table = relabellings(labels, 1500, np.random.default_rng(0), blocks)
    assert (table == labels[orders]).all()
