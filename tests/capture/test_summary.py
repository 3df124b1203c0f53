"""Summaries against hand-worked values and planted faults: overwritten hook, dead dimension, overflow."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.capture.summary import complete_steps, quality, step_norms, summarise


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


def measured(values: np.ndarray) -> dict[str, float]:
    with np.errstate(over="ignore"):
        stored = values.astype(np.float16)
    return quality(values, stored, step_norms(values))[0]


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
