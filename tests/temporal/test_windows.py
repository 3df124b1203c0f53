"""Windows tile the complete steps, and their means are those of the steps they name."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.temporal.separation import window_means, windows


def test_windows_tile_the_steps_and_leave_the_rest_over():
    places = windows(197, 3, 4)
    assert len(places.starts) == 49
    assert places.starts[-1] + places.width == 196
    assert places.times_s(50.0)[0] == pytest.approx((3 + 1.5) / 50)


def test_a_width_of_one_is_every_step():
    states = np.random.default_rng(0).normal(size=(3, 7, 5))
    assert np.array_equal(window_means(states, windows(7, 0, 1)), states)


def test_means_are_over_the_named_steps():
    states = np.random.default_rng(1).normal(size=(2, 11, 3))
    places = windows(11, 0, 3)
    found = window_means(states, places)
    for window, start in enumerate(places.starts):
        assert np.allclose(found[:, window], states[:, start : start + 3].mean(axis=1))


def test_a_clip_of_less_than_two_windows_is_refused():
    with pytest.raises(
        ContractError, match=r"must hold at least 2 windows of 4 steps; got '7 complete steps'"
    ):
        windows(7, 3, 4)
