import numpy as np
import pytest
from skbio.stats.distance import DistanceMatrix
from skbio.stats.distance import permdisp as reference

from moodlens.stats.permanova import dispersion_f
from moodlens.stats.permutation import p_values, relabellings


def test_f_equals_scikit_bio_for_equal_groups():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 8)
    rows = rng.normal(size=(24, 6)) * np.array([1.0, 1.5, 2.0])[labels][:, None] + labels[:, None]
    distances = DistanceMatrix(np.sqrt(((rows[:, None] - rows) ** 2).sum(axis=2)))
    expected = reference(
        distances, labels.astype(str), test="centroid", permutations=0, warn_neg_eigval=False
    )
    table = relabellings(labels, 3, rng)
    assert dispersion_f((rows @ rows.T)[None], table)[0, 0] == pytest.approx(
        expected["test statistic"], rel=1e-3
    )


def test_unequal_groups_by_hand():
    """Distances to the centroid 1, 1 widened by sqrt 2; 3, 0, 3 (mean 2) widened by sqrt 1.5."""
    rows = np.array([[-1.0], [1.0], [-3.0], [0.0], [3.0]])
    a, b = np.sqrt(2) * np.ones(2), np.sqrt(1.5) * np.array([3.0, 0.0, 3.0])
    grand = np.concatenate([a, b]).mean()
    between = 2 * (a.mean() - grand) ** 2 + 3 * (b.mean() - grand) ** 2
    expected = between / (((b - b.mean()) ** 2).sum() / 3)
    found = dispersion_f((rows @ rows.T)[None], np.array([[0, 0, 1, 1, 1]]))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_all_relabellings_equal_the_residuals_relabelled_one_by_one():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [5, 9])
    rows = rng.normal(size=(14, 4)) + 3 * labels[:, None]
    table = relabellings(labels, 4, rng)
    found = dispersion_f((rows @ rows.T)[None], table)[0]
    residuals = rows - np.stack([rows[labels == k].mean(axis=0) for k in (0, 1)])[labels]
    for perm in range(5):
        distances = np.empty(14)
        for klass in (0, 1):
            own = table[perm] == klass
            spread = np.linalg.norm(residuals[own] - residuals[own].mean(axis=0), axis=1)
            distances[own] = spread * np.sqrt(own.sum() / (own.sum() - 1))
        groups = [distances[table[perm] == k] for k in (0, 1)]
        between = sum(len(g) * (g.mean() - distances.mean()) ** 2 for g in groups)
        within = sum(((g - g.mean()) ** 2).sum() for g in groups) / 12
        assert found[perm] == pytest.approx(between / within, rel=1e-3)


def test_means_that_differ_are_no_difference_of_spread_and_a_wider_emotion_is():
    rng, labels = np.random.default_rng(2), np.repeat([0, 1, 2], 14)
    moved, wide = 0, 0
    for _ in range(40):
        rows = rng.normal(size=(42, 8))
        table = relabellings(labels, 99, rng)
        shifted = rows + 5 * labels[:, None]
        wider = rows * np.array([1.0, 1.0, 1.8])[labels][:, None]
        moved += p_values(dispersion_f((shifted @ shifted.T)[None], table))[0] <= 0.05
        wide += p_values(dispersion_f((wider @ wider.T)[None], table))[0] <= 0.05
    assert moved <= 8
    assert wide >= 36
