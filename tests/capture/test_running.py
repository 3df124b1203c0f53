"""Summaries against hand-worked values and planted faults: overwritten hook, dead dimension, overflow."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.capture.recorders import Running, complete_steps, summarise


def states(n_clips: int = 2, n_steps: int = 46, d_model: int = 8) -> np.ndarray:
    return np.random.default_rng(0).normal(1, 2, (n_clips, n_steps, d_model)).astype(np.float32)


def test_by_hand():
    # two codebooks, four steps: the complete ones are the middle two, each window is one of them
    values = np.array([[[9, 9], [1, 2], [3, 6], [9, 9]]], dtype=np.float32)
    found = {name: array.tolist() for name, array in summarise(values, 2).items()}
    assert found["mean"] == [[2, 4]]
    assert found["var"] == [[1, 4]]
    assert found["early"] == [[1, 2]]
    assert found["late"] == [[3, 6]]
    np.testing.assert_allclose(found["norm"], [[162**0.5, 5**0.5, 45**0.5, 162**0.5]], rtol=1e-6)


def test_windows_are_a_tenth_of_the_complete_steps():
    values = states()
    found = summarise(values, 4)  # 40 complete steps, 3..42
    np.testing.assert_allclose(found["early"], values[:, 3:7].mean(1), rtol=1e-5)
    np.testing.assert_allclose(found["late"], values[:, 39:43].mean(1), rtol=1e-5)
    np.testing.assert_allclose(found["var"], values[:, 3:43].var(1), rtol=1e-5)
    assert all(array.dtype == np.float32 for array in found.values())


def test_a_clip_is_summarised_as_if_alone():
    values = states(5)
    together, alone = summarise(values, 4), summarise(values[2:3], 4)
    assert all(np.array_equal(together[name][2:3], alone[name]) for name in together)


def test_a_large_mean_does_not_eat_the_variance():
    values = states(1, 1000, 4) + np.float32(1e4)
    exact = values[:, 3:-3].astype(np.float64).var(1)
    np.testing.assert_allclose(summarise(values, 4)["var"], exact, rtol=1e-6)


def test_too_short_a_clip():
    assert complete_steps(7, 4) == slice(3, 4)
    with pytest.raises(ContractError, match="more than 6 steps"):
        complete_steps(6, 4)


def measured(values: np.ndarray, n_chunk: int = 7) -> dict[str, float]:
    """Figures of states that arrive in chunks and are stored as float16."""
    running = Running(values.shape, 4)
    with np.errstate(over="ignore"):
        for at in range(0, values.shape[1], n_chunk):
            part = values[:, at : at + n_chunk]
            running.add(part, part.astype(np.float16))
    return {name: float(found[0]) for name, found in running.figures().items()}


@pytest.mark.parametrize("n_chunk", [1, 3, 7, 45, 46])
def test_chunks_change_nothing(n_chunk: int):
    values = states(3) + np.float32(100)
    running = Running(values.shape, 4)
    for at in range(0, 46, n_chunk):
        running.add(values[:, at : at + n_chunk], values[:, at : at + n_chunk])
    for name, whole in summarise(values, 4).items():
        np.testing.assert_allclose(running.summary()[name], whole, rtol=2e-7, err_msg=name)
    norms = np.linalg.norm(values.astype(np.float64), axis=2)
    moved = np.linalg.norm(np.diff(values, axis=1).astype(np.float64), axis=2)
    found = running.figures()
    np.testing.assert_allclose(found["step_change"], np.median(moved / norms[:, :-1], axis=1), rtol=1e-6)
    np.testing.assert_allclose(found["norm_max"], norms.max(1), rtol=1e-6)
    np.testing.assert_allclose(found["absmax"], np.abs(values).max((1, 2)))


def test_quality_of_healthy_states():
    values = states(1)
    found = measured(values)
    assert found["finite_fraction"] == 1
    assert found["dead_fraction"] == 0
    assert found["step_change"] > 0.1
    assert found["absmax"] == pytest.approx(np.abs(values).max())
    assert found["norm_mean"] == pytest.approx(np.linalg.norm(values, axis=2).mean(), rel=1e-6)
    assert found["norm_max"] == pytest.approx(np.linalg.norm(values, axis=2).max(), rel=1e-6)


def test_the_overwritten_hook_shows():
    once = np.repeat(states(1)[:, :1], 46, axis=1)
    assert measured(once)["step_change"] == 0
    assert measured(once)["dead_fraction"] == 1


def test_one_dead_dimension_and_one_overflow_show():
    values = states(1)
    values[:, :, 0] = 3
    values[0, 5, 1] = 1e6  # beyond float16
    found = measured(values)
    assert found["dead_fraction"] == 1 / 8
    assert found["finite_fraction"] == 1 - 1 / (46 * 8)


def test_zero_states_have_no_change_and_no_warning():
    assert measured(np.zeros((1, 10, 4), dtype=np.float32))["step_change"] == 0
