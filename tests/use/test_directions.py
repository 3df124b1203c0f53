"""The subspace of an emotion and its null directions: planted dimensions, right angles, lengths."""

import numpy as np
import pytest

from moodlens.base.errors import Unsupported, UsageError
from moodlens.use.directions import displacement, emotion_basis, null_vectors

RNG = np.random.default_rng(0)
PLANTED = np.linalg.qr(RNG.standard_normal((16, 2)))[0].T
GAPS = RNG.normal(3, 1, (30, 2)) @ PLANTED + 0.01 * RNG.standard_normal((30, 16))
WITHIN = RNG.standard_normal((30, 5)) @ RNG.standard_normal((5, 16))


def test_the_basis_is_orthonormal_and_spans_the_planted_plane():
    basis = emotion_basis(GAPS, 2)
    assert basis.dtype == np.float32
    assert basis @ basis.T == pytest.approx(np.eye(2), abs=1e-6)
    assert PLANTED @ basis.T @ basis == pytest.approx(PLANTED, abs=0.02)


def test_the_gaps_are_not_centred():
    """All rows share one gap: it is the direction, although it varies over no row."""
    one = np.tile(PLANTED[0], (6, 1)) + 0.1 * np.outer(RNG.standard_normal(6), PLANTED[1])
    (direction,) = emotion_basis(one, 1)
    assert abs(direction @ PLANTED[0]) > 0.99


def test_gaps_of_lower_rank_give_fewer_directions():
    basis = emotion_basis(np.outer(np.arange(1.0, 5.0), PLANTED[0]), 3)
    assert basis.shape == (1, 16)


def test_null_vectors_have_the_norm_and_leave_out_the_basis():
    basis = emotion_basis(GAPS, 2)
    nulls = null_vectors(WITHIN, basis, 7.5, 39, np.random.default_rng(1))
    assert nulls.shape == (39, 16)
    assert nulls.dtype == np.float32
    assert np.linalg.norm(nulls, axis=1) == pytest.approx(7.5)
    assert np.abs(nulls @ basis.T).max() < 1e-5


def test_null_vectors_follow_the_within_emotion_second_moment():
    basis = emotion_basis(GAPS, 2)
    outside = np.eye(16) - basis.T @ basis
    nulls = null_vectors(WITHIN, basis, 1.0, 20_000, np.random.default_rng(1))
    span = WITHIN @ outside
    rank = np.linalg.matrix_rank(span, tol=1e-3)
    assert np.linalg.matrix_rank(nulls, tol=1e-3 * 20_000**0.5) == rank == 5
    moment = span.T @ span
    drawn = nulls.T @ nulls
    leading, drawn_leading = (np.linalg.eigh(one)[1][:, -1] for one in (moment, drawn))
    assert abs(leading @ drawn_leading) > 0.99


def test_null_vectors_are_drawn_by_the_generator():
    basis = emotion_basis(GAPS, 2)
    one, same, other = (
        null_vectors(WITHIN, basis, 1.0, 3, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_nothing_to_fit_is_refused():
    basis = emotion_basis(GAPS, 2)
    rng = np.random.default_rng(0)
    with pytest.raises(Unsupported, match="not all be zero"):
        emotion_basis(np.zeros((4, 16)), 2)
    with pytest.raises(UsageError, match="at least 1; got 0"):
        emotion_basis(GAPS, 0)
    with pytest.raises(Unsupported, match="not all be zero"):
        null_vectors(np.zeros((4, 16)), basis, 1.0, 3, rng)
    with pytest.raises(Unsupported, match="rank 0 outside 2"):
        null_vectors(RNG.standard_normal((4, 2)) @ basis, basis, 1.0, 3, rng)


def test_a_displacement_by_hand():
    one, other = np.array([[3.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 4.0], [0.0, -5.0]])
    found = displacement(one, other, one - 1)
    assert found.gap.tolist() == [1.5, 0.5]
    assert found.within.tolist() == [1.0, 1.0]
    assert found.norm == 5.0
