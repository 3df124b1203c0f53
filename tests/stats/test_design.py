from dataclasses import replace

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.stats.design import UNITS, design_of
from moodlens.stats.permutation import smallest_p


def test_classes_keep_the_order_of_the_emotions_and_wordings_their_first_appearance():
    made = design_of(list("abcd"), ["sad", "happy", "happy", "sad"], ["x", "y", "z", "x"])
    assert made.emotions == ("happy", "sad")
    assert made.labels.tolist() == [1, 0, 0, 1]
    assert made.members("wording").tolist() == [0, 1, 2, 0]
    assert made.unit_labels("wording").tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("emotions", "wordings", "words"),
    [
        (["sad"] * 4, list("wxyz"), "at least two emotions; got 'sad'"),
        (["sad", "sad", "sad", "happy"], list("wxyz"), "emotion 'happy' must have at least 2 prompts; got 1"),
        (["sad", "sad", "happy", "happy"], list("wxxz"), "wording 'x' must belong to one emotion"),
    ],
)
def test_a_design_that_carries_no_test_is_refused_in_one_line(emotions, wordings, words):
    with pytest.raises(ContractError) as caught:
        design_of(list("abcd"), emotions, wordings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_relabellings_never_leave_the_blocks_of_the_units():
    wordings = [f"w{i // 2}" for i in range(16)] + [f"v{i}" for i in range(8)]
    emotions = ["happy", "happy", "sad", "sad"] * 4 + ["happy", "sad"] * 4
    design = design_of([f"p{i}" for i in range(24)], emotions, wordings)
    design = replace(design, strata=np.array([0, 0, 0, 0, 1, 1, 1, 1] * 3))
    for unit in UNITS:
        blocks, table = design.blocks(unit), design.relabellings(unit, 200, np.random.default_rng(0))
        assert (table[0] == design.unit_labels(unit)).all()
        assert len(np.unique(table, axis=0)) > 10
        for block in np.unique(blocks):
            assert (np.sort(table[:, blocks == block]) == np.sort(table[0, blocks == block])).all()
        assert design.smallest_p(unit, 199) == smallest_p(design.unit_labels(unit), 199, blocks)
