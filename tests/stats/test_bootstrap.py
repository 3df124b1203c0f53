import numpy as np
import pytest

from moodlens.stats.bootstrap import balanced_accuracy, class_means, interval, resamples, wording_resamples
from tests.stats.synthetic import design


def test_whole_units_are_drawn_within_each_emotion():
    made = design(4, 6, per_wording=2)
    counts = resamples(made, "wording", 200, np.random.default_rng(0))
    assert (counts[:, 0::2] == counts[:, 1::2]).all()  # both prompts of a wording, or neither
    assert (counts[:, :4].sum(axis=1) == 4).all()
    assert (counts[:, 4:].sum(axis=1) == 6).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(10), abs=0.25)


def test_balanced_accuracy_weighs_emotions_equally():
    labels = np.array([0] * 9 + [1])
    assert balanced_accuracy(np.array([1.0] * 9 + [0.0]), labels) == pytest.approx(0.5)


def test_the_interval_covers_as_often_as_it_says():
    """Accuracy of 40 prompts with true value .7: a 90 % interval covers it in about 90 %."""
    made, covered = design(20, 20), 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 3])
        right = (rng.uniform(size=40) < 0.7).astype(float)
        low, high = interval(class_means(right, made.labels, resamples(made, "prompt", 300, rng)), 0.9)
        covered += low <= 0.7 <= high
    assert 165 <= covered <= 195


def test_wordings_are_resampled_whole_within_their_emotion():
    made = design(8, 12, per_wording=2)
    counts = wording_resamples(made, 500, np.random.default_rng(0))
    labels = made.unit_labels("wording")
    assert counts.shape == (500, 10)
    assert (counts[:, labels == 0].sum(axis=1) == 4).all()
    assert (counts[:, labels == 1].sum(axis=1) == 6).all()
    prompts = resamples(made, "wording", 500, np.random.default_rng(0))
    assert (prompts == counts[:, made.wordings]).all()
