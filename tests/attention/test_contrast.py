"""Lifts by hand, planted heads, nulls at their nominal rate, and what is left out."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from moodlens.attention.contrast import emotion_test, lift, lift_difference, paired_test, unit_means
from moodlens.attention.summaries import (
    head_summaries,
    over_time,
    relative_entropy,
    time_bins,
    uniform_self_entropy,
)
from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import ContractError
from moodlens.stats.design import design_of

UNITS = np.repeat(np.arange(16), 2)
LABELS = np.repeat(np.arange(4), 4)
PROMPTS = [f"p{i}" for i in range(32)]
DESIGN = design_of(PROMPTS, [EMOTIONS[k] for k in LABELS[UNITS]], [f"w{unit}" for unit in UNITS])


def heads(rng: np.random.Generator, icc: float = 0.3) -> np.ndarray:
    """Return (prompt, layer, head) with wordings that resemble each other."""
    common = rng.standard_normal((16, 2, 3))[UNITS]
    return np.sqrt(icc) * common + np.sqrt(1 - icc) * rng.standard_normal((32, 2, 3))


def test_lift_by_hand():
    tokens = np.array([[2, 1, 1, 4], [0, 0, 1, 3]])
    np.testing.assert_allclose(lift(np.array([0.5, 0.0]), tokens, 0), [2.0, np.nan])
    assert lift_difference(np.array([0.5]), np.array([0.25]), tokens[:1])[0] == pytest.approx(2 - 2)


def test_uniform_attention_has_no_difference_whatever_the_pieces():
    tokens = np.random.default_rng(0).integers(1, 9, (20, 4))
    share = tokens / tokens.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(lift_difference(share[:, 0], share[:, 1], tokens), 0, atol=1e-12)
    entropy = np.log(tokens.sum(axis=1).astype(float))
    np.testing.assert_allclose(relative_entropy(entropy, tokens.sum(axis=1)), 1)


def test_unit_means_by_hand():
    assert unit_means(np.array([1.0, 3.0, 10.0]), np.array([1, 1, 0])).tolist() == [10.0, 2.0]


@pytest.mark.parametrize("kind", ["paired", "emotion"])
def test_false_positives_come_at_the_nominal_rate_though_prompts_share_wordings(kind: str):
    rng = np.random.default_rng(5)
    n_sets, hits = 300, 0
    for _ in range(n_sets):
        values = heads(rng)
        if kind == "paired":
            found = paired_test(values, UNITS, 199, 100, 0.95, rng)
        else:
            found = emotion_test(values, DESIGN, 199, rng)
        hits += found.p_max.min() <= 0.05
    low, high = scipy_stats.binom.interval(0.999, n_sets, 0.05)
    assert low <= hits <= high


def test_a_planted_head_is_found_by_each_test():
    rng = np.random.default_rng(6)
    values = heads(rng)
    values[:, 1, 2] += 2
    found = paired_test(values, UNITS, 999, 200, 0.95, rng)
    assert found.best == (1, 2)
    assert found.p_max[1, 2] < 0.01
    assert found.low < found.estimate[1, 2] < found.high
    assert found.low > 0
    values = heads(rng)
    values[:, 0, 1] += 1.5 * LABELS[UNITS]
    found = emotion_test(values, DESIGN, 999, rng)
    assert found.best == (0, 1)
    assert found.p_max[0, 1] < 0.01
    assert found.statistic[0, 1] == pytest.approx(
        scipy_stats.f_oneway(*unit_means(values, UNITS)[:, 0, 1].reshape(4, 4)).statistic, rel=1e-5
    )


def test_prompts_without_words_to_compare_are_left_out_and_a_constant_head_is_no_finding():
    rng = np.random.default_rng(7)
    values = heads(rng)
    values[:2] = np.nan
    found = paired_test(values, UNITS, 99, 100, 0.95, rng)
    assert found.n_units == 15
    values = heads(rng)
    values[:, 0, 0] = 0.25
    assert emotion_test(values, DESIGN, 99, rng).p[0, 0] == 1
    with pytest.raises(ContractError, match="must hold emotion words and control words; got 'none'"):
        paired_test(np.full((32, 2, 3), np.nan), UNITS, 99, 100, 0.95, rng)


def stored(n_clips: int = 4, n_steps: int = 10) -> dict[str, np.ndarray]:
    shape = (n_clips, 2, 3, n_steps)
    tokens = np.tile([2, 1, 1, 4], (n_clips, 1)).astype(np.int16)
    uniform = {"emotion": 2 / 8, "control": 1 / 8, "end": 1 / 8, "entropy": np.log(8)}
    found = {f"cross/{name}": np.full(shape, value, dtype=np.float16) for name, value in uniform.items()}
    found |= {f"twin/cross/{name}": np.full(shape[:3], v, np.float32) for name, v in uniform.items()}
    found["self/distance"] = np.broadcast_to(np.arange(n_steps) / 2, shape).astype(np.float16)
    found["self/entropy"] = np.broadcast_to(uniform_self_entropy(n_steps), shape).astype(np.float16)
    found["self/first"] = np.ones(shape, dtype=np.float16)
    return found | {"tokens": tokens}


def test_readings_of_uniform_attention():
    found = head_summaries(stored(), slice(2, 8))
    np.testing.assert_allclose(found.entropy, 1, atol=1e-3)
    np.testing.assert_allclose(found.difference, 0, atol=1e-3)
    np.testing.assert_allclose(found.twin_difference, 0, atol=1e-6)
    np.testing.assert_allclose(found.distance, np.arange(2, 8).mean() / 2, atol=1e-3)
    assert found.entropy.shape == (4, 2, 3)


def test_curves_over_time_keep_groups_layers_and_bins():
    values = stored()
    values["cross/emotion"][2:, 1, :, 5:] *= 2
    values["tokens"][3, 0] = 0  # no emotion words: left out of the lift, not of the entropy
    found = over_time(values, np.array([0, 0, 1, 1]), 2)
    assert found["lift_emotion"].shape == (2, 2, 2)
    np.testing.assert_allclose(found["lift_emotion"][1, 1], [1, 2], atol=1e-3)
    np.testing.assert_allclose(found["lift_emotion"][0], 1, atol=1e-3)
    np.testing.assert_allclose(found["distance"][0, 0], [1, 3.5], atol=1e-3)
    assert time_bins(3, 20).tolist() == [0, 1, 2]
    values["tokens"][:2, 0] = 0
    assert np.isnan(over_time(values, np.array([0, 0, 1, 1]), 2)["lift_emotion"][0]).all()
