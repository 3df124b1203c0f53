"""Early against late: hand-worked distances, a planted drift, and the paired test below its nominal rate."""

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.stats.bootstrap import resamples
from moodlens.stats.permutation import p_values
from moodlens.stats.sign_flip import random_signs
from moodlens.temporal.divergence import divergence, flipped_changes
from tests.stats.synthetic import design

ONCE = np.ones((1, 4), dtype=int)


def test_distance_ratio_is_that_of_the_emotions_means_where_there_is_no_noise():
    labels = np.array([0, 0, 1, 1])
    early = np.array([[1.0, 0], [1.0, 0], [3.0, 0], [3.0, 0]])
    found = divergence(early, 3 * early, labels, ONCE, 0.95)
    assert found.ratio == pytest.approx(3.0)
    assert found.change == pytest.approx(0.0)
    assert found.early == pytest.approx(2.0)


def test_noise_of_the_means_does_not_count_as_distance():
    """Crossvalidated squares of noise fall below zero half of the time, and then there is no ratio."""
    rng = np.random.default_rng(0)
    made = design(6, 6)
    counts = resamples(made, "prompt", 100, rng)
    ratios = [divergence(*rng.normal(size=(2, 12, 30)), made.labels, counts, 0.95).ratio for _ in range(100)]
    assert np.mean([ratio is None for ratio in ratios]) > 0.9


def test_ratio_is_that_of_the_true_distances_whatever_the_noise():
    rng = np.random.default_rng(6)
    made = design(12, 12)
    counts = resamples(made, "prompt", 100, rng)
    means = np.outer(made.labels, np.ones(40))
    ratios = [
        divergence(
            means + 1.5 * rng.normal(size=(24, 40)),
            2 * means + 0.2 * rng.normal(size=(24, 40)),
            made.labels,
            counts,
            0.95,
        ).ratio
        for _ in range(40)
    ]
    known = [ratio for ratio in ratios if ratio is not None]
    assert len(known) > 30
    assert np.median(known) == pytest.approx(2, abs=0.12)  # of uncorrected distances: 1.7


def test_emotions_that_move_apart_are_found():
    rng = np.random.default_rng(1)
    made = design(8, 8, 8)
    means = rng.normal(size=(3, 10))[made.labels]
    early, late = (rng.normal(size=(24, 10)) + share * means for share in (0.3, 1.5))
    found = divergence(early, late, made.labels, resamples(made, "prompt", 300, rng), 0.95)
    assert found.low > 0
    assert found.change == pytest.approx(found.late - found.early)
    null = flipped_changes(early, late, made.labels, random_signs(24, 199, rng))
    assert null[0] == pytest.approx(found.change)
    assert p_values(null) <= 0.02


def test_a_growing_norm_and_a_drifting_mean_are_no_divergence():
    rng = np.random.default_rng(2)
    labels = design(6, 6).labels
    early = rng.normal(size=(12, 5)) + labels[:, None]
    null = flipped_changes(early, 10 * early + 100, labels, random_signs(12, 50, rng))
    assert null[0] == pytest.approx(0, abs=1e-9)


def test_contributions_add_up_to_the_change_and_its_widened_jackknife_variance():
    rng = np.random.default_rng(5)
    labels = design(5, 7).labels
    early, late = rng.normal(size=(2, 12, 6)) + labels[:, None]

    def change(kept: np.ndarray) -> float:
        effects = []
        for states in (early, late):
            moved = states - states.mean(axis=0)
            unit = (moved / np.linalg.norm(moved, axis=1, keepdims=True))[kept]
            same = (labels[kept][:, None] == labels[kept]) & ~np.eye(len(kept), dtype=bool)
            other = labels[kept][:, None] != labels[kept]
            effects.append((unit @ unit.T)[same].mean() - (unit @ unit.T)[other].mean())
        return effects[1] - effects[0]

    units = np.arange(12)
    whole, rest = change(units), np.array([change(np.delete(units, i)) for i in units])
    variance = sum(
        n / (n - 1) * ((rest[labels == k] - rest[labels == k].mean()) ** 2).sum() for k, n in ((0, 5), (1, 7))
    )
    signs = 2 * np.array(list(np.ndindex(*[2] * 12))) - 1
    null = flipped_changes(early, late, labels, signs)
    assert null[-1] == pytest.approx(abs(whole))
    assert np.square(null).mean() == pytest.approx(variance + whole**2 / 12)


@pytest.mark.parametrize("turned", [False, True])
def test_false_positives_stay_below_the_nominal_rate(turned: bool):
    """Equal separation early and late, along the same directions, or along other ones."""
    rng = np.random.default_rng(3)
    labels, n_runs = design(6, 6, 6).labels, 400
    rejected = 0
    for _ in range(n_runs):
        first = rng.normal(size=(3, 8))
        second = first @ np.linalg.qr(rng.normal(size=(8, 8)))[0] if turned else first
        own = rng.normal(size=(18, 8))
        early, late = (own + rng.normal(size=(18, 8)) + means[labels] for means in (first, second))
        rejected += p_values(flipped_changes(early, late, labels, random_signs(18, 99, rng))) <= 0.05
    assert 0 < rejected <= binom.ppf(0.995, n_runs, 0.05)
