"""The survey and the mixing buffer: every row once, the same order for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodlens.base.errors import ContractError, UsageError
from moodlens.base.seeding import rng_for
from moodlens.sae.mixing import batches, checked, mixed, survey


def numbered(n_rows: int, lengths: list[int]) -> list[np.ndarray]:
    """Rows that hold their own number, in arrays of the given lengths (the last takes what is left)."""
    rows = np.repeat(np.arange(n_rows, dtype=np.float32)[:, None], 2, axis=1)
    edges = np.minimum(np.cumsum(lengths), n_rows)
    return [part for part in np.split(rows, edges) if len(part)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 80),
    st.lists(st.integers(1, 30), max_size=8),
    st.integers(1, 9),
    st.integers(0, 40),
    st.integers(0, 9),
)
def test_every_row_comes_once_in_full_batches(
    n_rows: int, lengths: list[int], batch_rows: int, spare: int, seed: int
):
    arrays = numbered(n_rows, lengths)
    deals = [list(mixed(arrays, batch_rows, 2 * batch_rows + spare, rng_for("test", seed))) for _ in range(2)]
    dealt = np.concatenate(deals[0])[:, 0]
    assert sorted(dealt.tolist()) == list(range(n_rows))
    assert all(len(batch) == batch_rows for batch in deals[0][:-1])
    assert np.array_equal(dealt, np.concatenate(deals[1])[:, 0])


def test_rows_are_mixed_across_arrays():
    dealt = np.concatenate(list(mixed(numbered(4000, [100] * 40), 50, 1000, rng_for("test", 0))))[:, 0]
    neighbours = np.abs(np.diff(dealt)) == 1
    assert neighbours.mean() < 0.01
    first = dealt[:500]  # dealt from the first 1,000 rows, half of them
    assert first.max() < 1000
    assert np.ptp(first) > 900
    assert not np.array_equal(
        dealt, np.concatenate(list(mixed(numbered(4000, [100] * 40), 50, 1000, rng_for("test", 1))))[:, 0]
    )


def test_the_buffer_is_all_that_is_held():
    alive: list[int] = []

    def stream():
        for number in range(100):
            alive.append(number)
            yield np.full((10, 2), number, np.float16)

    deal = mixed(stream(), 5, 40, rng_for("test", 0))
    batch = next(deal)
    assert batch.dtype == np.float32
    assert len(alive) == 4, "four arrays fill the buffer; the fifth is not requested yet"


def test_a_small_buffer_is_refused():
    with pytest.raises(UsageError, match=r"buffer_rows must hold two batches of 8 rows; got 15"):
        next(mixed([np.zeros((4, 2))], 8, 15, rng_for("test", 0)))


def test_survey_counts_samples_and_fingerprints():
    arrays = numbered(100, [30, 30])
    facts = survey(lambda: arrays, 10, seed=0)
    assert (facts.n_rows, facts.d_in) == (100, 2)
    assert facts.mean_norm == pytest.approx(np.sqrt(2) * 49.5)
    assert len(set(facts.sample[:, 0].tolist())) == 10
    changed = [array.copy() for array in arrays]
    changed[2][-1, -1] += 1
    assert survey(lambda: changed, 10, seed=0).digest != facts.digest


def test_every_row_is_equally_likely_to_be_sampled():
    hits = np.zeros(40)
    for seed in range(200):
        hits[survey(lambda: numbered(40, [10, 10]), 10, seed).sample[:, 0].numpy().astype(int)] += 1
    # 200 draws at 1/4: 50 expected, standard deviation 6.1; 4.5 of them bound 40 rows at p < 1e-3.
    assert np.abs(hits - 50).max() < 28


def test_bad_rows_are_named():
    bad = np.zeros((5, 3), np.float32)
    bad[2, 1] = np.nan
    with pytest.raises(ContractError, match=r"row 7 of an SAE's rows must be finite; got 'NaN or infinity'"):
        list(checked([np.zeros((5, 3)), bad]))
    with pytest.raises(ContractError, match=r"rows of an SAE must have shape \(row, 3\); got \(5, 4\)"):
        list(batches(lambda: [np.zeros((5, 4))], 3, 2))
    with pytest.raises(ContractError, match=r"must be at least as many as d_in = 3; got 2"):
        survey(lambda: [np.zeros((2, 3))], 10, 0)
    with pytest.raises(ContractError, match=r"training rows of an SAE .* got 0"):
        survey(list, 10, 0)
