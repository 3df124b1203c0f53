from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.base.errors import ContractError
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import (
    counts_by_block,
    fixed_units,
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


def all_relabellings(labels: np.ndarray, blocks: np.ndarray) -> set[tuple[int, ...]]:
    """Every distinct labelling, written out block by block."""
    every = [labels.copy()]
    for block in np.unique(blocks):
        inside = blocks == block
        orders = set(permutations(labels[inside].tolist()))
        longer = []
        for rest, order in product(every, orders):
            row = rest.copy()
            row[inside] = order
            longer.append(row)
        every = longer
    return {tuple(row.tolist()) for row in every}


@pytest.mark.parametrize(
    ("labels", "blocks", "expected"),
    [
        # Two sizes of wordings: 6! / 3!^2 and 2! / 1!^2 labellings, of which two are renamings.
        (np.repeat([0, 1], 4), np.tile([0, 0, 0, 1], 2), 2 / (20 * 2)),
        (np.tile([0, 1, 2], 4), np.repeat([0, 1, 2, 3], 3), 6 / 6**4),  # slots: 3! in each
        (np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 1 / 3),  # the fourth unit stays; no renaming
        (np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 1]), 2 / 6),  # 0 and 1 can be renamed, 2 not
        (np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 0, 1]), 1 / 6),
    ],
)
def test_the_smallest_p_counts_relabellings_within_blocks(labels, blocks, expected):
    def partition(row) -> frozenset[frozenset[int]]:
        return frozenset(frozenset(np.nonzero(np.equal(row, k))[0].tolist()) for k in set(labels.tolist()))

    every = all_relabellings(labels, blocks)
    alike = [row for row in every if partition(row) == partition(labels)]
    assert (
        smallest_p(labels, 10**9, blocks) == pytest.approx(expected) == pytest.approx(len(alike) / len(every))
    )


def test_units_alone_of_their_size_stay_and_are_counted():
    labels, blocks = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 0, 2])
    table = relabellings(labels, 200, np.random.default_rng(0), blocks)
    assert (table[:, [2, 5]] == labels[[2, 5]]).all()
    assert fixed_units(labels, blocks) == 2
    assert fixed_units(labels) == 0
    assert counts_by_block(labels, blocks).tolist() == [[2, 2], [1, 0], [0, 1]]


def test_one_block_gives_the_relabellings_without_blocks():
    one = relabellings(LABELS, 50, np.random.default_rng(0), np.zeros(6, dtype=np.int64))
    assert (one == relabellings(LABELS, 50, np.random.default_rng(0))).all()


def test_relabelling_wordings_of_two_sizes_together_is_too_liberal_and_within_sizes_it_is_not():
    """The means of single prompts vary most: an emotion that has many of them lies far out by chance."""
    labels = np.repeat([0, 1], [12, 20])
    sizes = np.where(labels == 0, 1, 6)
    sizes[[0, 1, 2, 3, 12, 13, 14, 15, 16]] = 3
    alarms = {"any": 0, "size": 0}
    for seed in range(300):
        rng = np.random.default_rng([seed, 5])
        means = rng.standard_normal((32, 6)) / np.sqrt(sizes)[:, None]
        rows = means - means.mean(axis=0)
        for name, blocks in (("any", None), ("size", sizes)):
            table = relabellings(labels, 99, rng, blocks)
            alarms[name] += p_values(pseudo_f((rows @ rows.T)[None], table))[0] <= 0.05
    assert alarms["any"] > binom.ppf(0.999, 300, 0.05)
    assert alarms["size"] <= binom.ppf(0.999, 300, 0.05)


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
