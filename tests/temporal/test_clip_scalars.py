"""One number per clip, by emotion."""

import numpy as np
import pytest
from scipy.stats import f_oneway

from moodlens.stats.permutation import relabellings
from moodlens.temporal import clip_scalars
from tests.stats.synthetic import design


def test_f_and_share_are_those_of_one_way_anova():
    rng = np.random.default_rng(0)
    labels = design(5, 6, 7).labels
    values = rng.normal(size=(2, 18)) + labels
    found = clip_scalars.by_emotion(values, relabellings(labels, 99, rng))
    for row, said in zip(values, found, strict=True):
        groups = [row[labels == k] for k in range(3)]
        assert said.f == pytest.approx(f_oneway(*groups).statistic, rel=1e-5)
        assert said.means == pytest.approx([group.mean() for group in groups])
        between = sum(len(g) * (g.mean() - row.mean()) ** 2 for g in groups)
        assert said.share == pytest.approx(between / ((row - row.mean()) ** 2).sum())
    assert all(said.p <= said.p_max for said in found)


def test_ratio_is_of_the_largest_to_the_smallest_mean():
    labels = np.array([0, 0, 1, 1])
    found = clip_scalars.by_emotion(np.array([[1.0, 3.0, 7.0, 9.0], [-1.0, 1.0, 2.0, 3.0]]), labels[None])
    assert found[0].ratio == pytest.approx(4.0)
    assert found[1].ratio is None


def test_a_constant_reading_shows_nothing():
    labels = design(4, 4).labels
    rng = np.random.default_rng(1)
    values = np.stack([np.full(8, 3.3), rng.normal(size=8) + 5 * labels])
    constant, moved = clip_scalars.by_emotion(values, relabellings(labels, 99, rng))
    assert (constant.f, constant.p, constant.p_max) == (0.0, 1.0, 1.0)
    assert moved.p_max < 0.1
