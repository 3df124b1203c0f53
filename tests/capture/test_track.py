"""Stored steps for every stride, window, type and chunking; summaries over all steps."""

import numpy as np
import pytest

from moodlens.capture.recorders import Track, summarise
from moodlens.contracts.backend import Capture
from moodlens.contracts.tensors import stored_steps

STATES = np.random.default_rng(0).normal(1, 2, (2, 46, 8)).astype(np.float32)


def tracked(capture: Capture, n_chunk: int) -> Track:
    track = Track(46, capture, 4)
    for at in range(0, 46, n_chunk):
        track.add(STATES[:, at : at + n_chunk])
    return track


@pytest.mark.parametrize("n_chunk", [1, 5, 32, 46])
@pytest.mark.parametrize("stride", [1, 2, 7, 45, 46, 100])
def test_every_stride_th_step_is_stored(stride: int, n_chunk: int):
    stored = tracked(Capture(step_stride=stride), n_chunk).stored
    assert stored is not None
    assert stored.dtype == np.float32
    assert np.array_equal(stored, STATES[:, list(stored_steps(46, stride))])


@pytest.mark.parametrize("n_chunk", [1, 5, 32, 46])
@pytest.mark.parametrize("windows", [((0, 1),), ((3, 9), (30, 33)), ((44, 99),), ((0, 20), (10, 30))])
def test_windows_keep_their_steps_and_change_no_summary(windows: tuple[tuple[int, int], ...], n_chunk: int):
    track = tracked(Capture(step_stride=2, windows=windows, summaries=True), n_chunk)
    wanted = [step for step in range(0, 46, 2) if any(first <= step < stop for first, stop in windows)]
    assert track.stored is not None
    assert np.array_equal(track.stored, STATES[:, wanted])
    whole = tracked(Capture(summaries=True), n_chunk).summary
    assert all(np.array_equal(track.summary[name], whole[name]) for name in whole)


def test_half_precision_and_its_overflow():
    track = Track(46, Capture(dtype="float16", summaries=True, step_stride=5), 4)
    loud = STATES.copy()
    loud[0, 10, 3] = 1e6  # a stored step
    loud[1, 11, 3] = 1e6  # not a stored one
    track.add(loud)
    assert track.stored is not None
    assert track.stored.dtype == np.float16
    assert track.figures["finite_fraction"].tolist() == [1 - 1 / 80, 1.0]
    assert track.figures["absmax"].tolist() == [1e6, 1e6]


def test_summaries_alone_hold_no_step():
    track = tracked(Capture(keep_steps=False, summaries=True), 46)
    assert track.stored is None
    assert (track.figures["finite_fraction"] == 1).all()
    for name, whole in summarise(STATES, 4).items():
        assert np.array_equal(track.summary[name], whole), name


def test_a_stride_changes_no_summary():
    every, third = (tracked(Capture(summaries=True, step_stride=stride), 32).summary for stride in (1, 3))
    assert all(np.array_equal(every[name], third[name]) for name in every)
