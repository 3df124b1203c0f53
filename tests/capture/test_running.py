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
    summary = {name: array.tolist() for name, array in summarise(values, 2).items()}
    assert summary["mean"] == [[2, 4]]
    assert summary["var"] == [[1, 4]]
    assert summary["early"] == [[1, 2]]
    assert summary["late"] == [[3, 6]]
    np.testing.assert_allclose(summary["norm"], [[162**0.5, 5**0.5, 45**0.5, 162**0.5]], rtol=1e-6)


def test_windows_are_a_tenth_of_the_complete_steps():
    values = states()
    summary = summarise(values, 4)  # 40 complete steps, 3..42
    np.testing.assert_allclose(summary["early"], values[:, 3:7].mean(1), rtol=1e-5)
    np.testing.assert_allclose(summary["late"], values[:, 39:43].mean(1), rtol=1e-5)
    np.testing.assert_allclose(summary["var"], values[:, 3:43].var(1), rtol=1e-5)
    assert all(array.dtype == np.float32 for array in summary.values())


def test_a_clip_is_summarised_as_if_alone():
    values = states(5)
    together, alone = summarise(values, 4), summarise(values[2:3], 4)
    assert all(np.array_equal(together[name][2:3], alone[name]) for name in together)


def test_a_large_mean_does_not_degrade_the_variance():
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
    return {name: float(values[0]) for name, values in running.figures().items()}


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
    figures = running.figures()
    np.testing.assert_allclose(figures["step_change"], np.median(moved / norms[:, :-1], axis=1), rtol=1e-6)
    np.testing.assert_allclose(figures["norm_max"], norms.max(1), rtol=1e-6)
    np.testing.assert_allclose(figures["absmax"], np.abs(values).max((1, 2)))


def test_quality_of_healthy_states():
    values = states(1)
    figures = measured(values)
    assert figures["finite_fraction"] == 1
    assert figures["dead_fraction"] == 0
    assert figures["step_change"] > 0.1
    assert figures["absmax"] == pytest.approx(np.abs(values).max())
    assert figures["norm_mean"] == pytest.approx(np.linalg.norm(values, axis=2).mean(), rel=1e-6)
    assert figures["norm_max"] == pytest.approx(np.linalg.norm(values, axis=2).max(), rel=1e-6)


def test_an_overwritten_hook_has_no_step_change():
    once = np.repeat(states(1)[:, :1], 46, axis=1)
    assert measured(once)["step_change"] == 0
    assert measured(once)["dead_fraction"] == 1


def test_a_dead_dimension_and_an_overflow_are_counted():
    values = states(1)
    values[:, :, 0] = 3
    values[0, 5, 1] = 1e6  # beyond float16
    figures = measured(values)
    assert figures["dead_fraction"] == 1 / 8
    assert figures["finite_fraction"] == 1 - 1 / (46 * 8)


def test_zero_states_have_no_change_and_no_warning():
    assert measured(np.zeros((1, 10, 4), dtype=np.float32))["step_change"] == 0
