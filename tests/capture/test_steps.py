"""Evenly spaced steps: ends, spacing, and a clip too short for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodlens.base.errors import UsageError
from moodlens.capture.recorders import spaced_steps


@given(st.integers(10, 600), st.integers(1, 4), st.integers(2, 12))
def test_steps_rise_from_the_first_complete_step_to_the_last(n_steps: int, books: int, n_spaced: int):
    if n_spaced > n_steps - 2 * (books - 1):
        return
    steps = spaced_steps(n_steps, books, n_spaced)
    assert len(set(steps)) == n_spaced
    assert (steps[0], steps[-1]) == (books - 1, n_steps - books)


def test_more_steps_than_a_clip_has_are_refused():
    line = r"reencode\.n_steps must be at most 4, the complete steps of a clip; got 8 \(params\.yaml\)"
    with pytest.raises(UsageError, match=line):
        spaced_steps(10, 4, 8)
