import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from moodlens.base.errors import ContractError
from moodlens.probes.family import ProbeSettings
from moodlens.probes.folds import design_folds, group_folds
from moodlens.stages.shell import load_params
from tests.stats.synthetic import design

ROOT = Path(__file__).parents[2]


@given(st.lists(st.integers(0, 11), min_size=12, max_size=80), st.integers(2, 5), st.integers(0, 99))
def test_groups_stay_whole_and_folds_are_as_even_as_scikit_learns(raw, n_folds, seed):
    groups = np.unique([*range(n_folds), *raw], return_inverse=True)[1]
    folds = group_folds(groups, n_folds, np.random.default_rng(seed))
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    sizes = np.sort(np.bincount(folds, minlength=n_folds))
    expected = np.sort([len(test) for _, test in GroupKFold(n_folds).split(groups, groups=groups)])
    assert sizes.tolist() == expected.tolist()


def test_folds_depend_on_the_seed_only_and_not_on_labels():
    made, relabelled = design(6, 6), design(3, 9)
    rngs = [np.random.default_rng(4) for _ in range(2)]
    folds = [design_folds(d, "prompt", 4, rng) for d, rng in zip((made, relabelled), rngs, strict=True)]
    assert folds[0].tolist() == folds[1].tolist()


def test_designs_that_cannot_hold_out_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ContractError, match="4 folds for 3 groups"):
        group_folds(np.array([0, 1, 2, 2]), 4, rng)
    many = dataclasses.replace(load_params(ROOT).null_text, n_folds=30)
    with pytest.raises(ContractError, match=r"null_text\.n_folds must .*Lower null_text\.n_folds"):
        ProbeSettings.from_section(many).folds(design(6, 6), "prompt")
    with pytest.raises(ContractError, match="emotion 'happy' must have at least 2 wordings"):
        design_folds(design(4, 8, per_wording=4), "wording", 2, rng)
