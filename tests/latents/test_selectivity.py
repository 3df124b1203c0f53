"""Selectivity: ratios by hand, planted units detected, the nominal rate where prompts share wordings."""

import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control

from moodlens.latents.selectivity import counts_of, p_of_contrast, ratios, selectivity, wordings_fired
from moodlens.stats.design import Design, design_of
from moodlens.stats.permutation import relabellings

EMOTIONS = ("happy", "sad", "calm", "energetic")


def crossed(n_wordings: int = 6, per_wording: int = 2) -> Design:
    """Four emotions, each with wordings of its own, each wording with some prompts."""
    emotions = np.repeat(EMOTIONS, n_wordings * per_wording).tolist()
    wordings = [f"w{i // per_wording}" for i in range(len(emotions))]
    return design_of([f"p{i}" for i in range(len(emotions))], emotions, wordings)


def test_ratio_is_best_over_the_mean_of_the_others_with_a_floor():
    pooled = np.array([[4.0, 0.0, 0.0], [4.0, 2.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    result = ratios(pooled, np.array([0, 1, 2, 2]), 3)
    # unit 0: means 4, 4, 2; others of emotion 0: 3; overall 10 / 3
    assert result[0, 0] == pytest.approx(4 / (3 + 0.01 * 10 / 3))
    # unit 1 is silent outside emotion 1: 2 / (0 + .01 * 2 / 3)
    assert result[1, 1] == pytest.approx(300)
    assert (result[:, 2] == 0).all()


def test_wordings_are_counted_not_prompts():
    pooled = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert wordings_fired(pooled, np.array([0, 0, 1, 2])).tolist() == [1, 1]


def test_p_equals_a_plain_loop():
    design, rng = crossed(3), np.random.default_rng(2)
    pooled = rng.gamma(1.0, size=(design.n_prompts, 5))
    result = p_of_contrast(pooled, design, 199, np.random.default_rng(7))
    table = relabellings(design.unit_labels("wording"), 199, np.random.default_rng(7))[:, design.wordings]
    for unit in range(5):
        best = [
            max(pooled[row == k, unit].mean() - pooled[row != k, unit].mean() for k in range(4))
            for row in table
        ]
        assert result[unit] == pytest.approx(np.mean(np.array(best) >= best[0] - 1e-9))


def test_planted_units_are_found_and_fdr_equals_scipy():
    design, rng = crossed(8), np.random.default_rng(0)
    pooled = rng.gamma(2.0, size=(design.n_prompts, 60))
    for unit in range(8):
        pooled[design.labels == unit % 4, unit] *= 6
    result = selectivity(pooled, design, 1999, 3, np.random.default_rng(1))
    assert result.selective(0.05)[:8].all()
    assert result.selective(0.05)[8:].sum() <= 1
    assert result.emotion[:8].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    np.testing.assert_allclose(result.q, false_discovery_control(result.p))
    counts = counts_of(result, pooled, 0.05, 4)
    assert (counts.n_units, counts.n_firing, counts.n_selective_least) == (60, 60, 2)


def test_a_unit_of_one_phrase_passes_the_ratio_and_not_the_test():
    design = crossed(6)
    pooled = np.zeros((design.n_prompts, 2))
    pooled[0, 0] = 1.0  # fires on one prompt
    pooled[design.wordings == 0, 1] = 1.0  # on both prompts of one wording
    result = selectivity(pooled, design, 999, 1, np.random.default_rng(0))
    assert (result.ratio > 4).all()
    assert (result.p > 0.5).all()
    assert not selectivity(pooled, design, 999, 2, np.random.default_rng(0)).tested.any()


def test_labels_move_between_wordings_of_one_size():
    """Single-prompt wordings vary most: without blocks the emotion that has them would be found too often."""
    sizes = np.array([6, 6, 6, 6, 1, 1, 1, 1] + [6] * 8)  # wordings of sad 5 to 8 hold one prompt each
    emotions, names = np.repeat(["sad", "calm"], 8), [f"w{i}" for i in range(16)]
    prompts = np.repeat(np.arange(16), sizes)
    design = design_of(
        [f"p{i}" for i in range(len(prompts))], emotions[prompts].tolist(), [names[i] for i in prompts]
    )
    pooled = np.random.default_rng(0).gamma(2.0, size=(len(prompts), 3))
    result = p_of_contrast(pooled, design, 199, np.random.default_rng(7))
    labels, blocks = design.unit_labels("wording"), design.blocks("wording")
    table = relabellings(labels, 199, np.random.default_rng(7), blocks)
    assert (table[:, 4:8] == labels[4]).all()
    for unit in range(3):
        best = [
            max(
                pooled[row[prompts] == k, unit].mean() - pooled[row[prompts] != k, unit].mean()
                for k in (0, 1)
            )
            for row in table
        ]
        assert result[unit] == pytest.approx(np.mean(np.array(best) >= best[0] - 1e-9))


def test_false_positives_are_nominal_where_prompts_share_a_wording():
    """A wording of its own level (ICC .8), no emotion: relabelling prompts would find emotion everywhere."""
    design, rng = crossed(6, per_wording=3), np.random.default_rng(11)
    n_units, alpha = 1000, 0.05
    level = rng.gamma(2.0, size=(24, n_units))
    pooled = level[design.wordings] + 0.5 * rng.gamma(2.0, size=(design.n_prompts, n_units))
    p = p_of_contrast(pooled, design, 199, np.random.default_rng(3))
    # units share the design, not their values: each is a draw of the null; 1 in 10,000 beyond the bounds
    low, high = binom.ppf((1e-4 / 2, 1 - 1e-4 / 2), n_units, alpha) / n_units
    assert low <= np.mean(p <= alpha) <= high
    naive = design_of(design.prompt_ids, [EMOTIONS[k] for k in design.labels], design.prompt_ids)
    assert np.mean(p_of_contrast(pooled, naive, 199, np.random.default_rng(3)) <= alpha) > 2 * high
