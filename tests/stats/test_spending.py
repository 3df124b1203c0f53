"""Bounds of repeated looks against published values, and what peeking costs."""

import numpy as np
import pytest
from scipy.stats import norm

from moodlens.base.errors import UsageError
from moodlens.stats.spending import overall, spent


def test_two_looks_are_those_of_o_brien_and_fleming():
    assert [round(level, 4) for level in spent(0.05, [0.5, 1])] == [0.0052, 0.0480]


def test_five_looks_are_those_of_the_published_table():
    """Jennison and Turnbull 2000, table 2.3: C = 2.040 for five looks."""
    levels = spent(0.05, [0.2, 0.4, 0.6, 0.8, 1])
    assert [round(level, 4) for level in levels[1:]] == [0.0013, 0.0084, 0.0226, 0.0413]
    assert round(levels[0], 6) == 0.000005
    assert norm.isf(levels[-1] / 2) == pytest.approx(2.040, abs=5e-4)


def test_lan_and_demets_equal_the_published_bounds():
    """As `ldbounds` (R) and Lan and DeMets' own program print for the O'Brien-Fleming type function."""
    bounds = norm.isf(np.array(spent(0.05, [0.2, 0.4, 0.6, 0.8, 1], "lan-demets")) / 2)
    np.testing.assert_allclose(bounds, [4.877, 3.357, 2.680, 2.290, 2.031], atol=6e-4)


@pytest.mark.parametrize("plan", ["o'brien-fleming", "lan-demets"])
def test_all_looks_together_err_at_alpha(plan):
    fractions = [0.2, 0.4, 1.0]
    assert overall(spent(0.05, fractions, plan), fractions) == pytest.approx(0.05, abs=1e-6)
    for alpha in (1e-6, 0.05, 0.9):
        assert spent(alpha, [1.0], plan)[0] == pytest.approx(alpha, abs=1e-6)


def test_peeking_by_simulation():
    """Twice at .05: .083 when the second look doubles the data; .0975 only if looks were unrelated."""
    assert overall([0.05, 0.05], [0.5, 1]) == pytest.approx(0.083, abs=5e-4)
    assert overall([0.05] * 5, [0.2, 0.4, 0.6, 0.8, 1]) == pytest.approx(0.142, abs=5e-4)
    assert overall([0.05, 0.05], [1e-4, 1]) == pytest.approx(1 - 0.95**2, abs=1e-3)
    steps = np.random.default_rng(0).normal(size=(200_000, 3)) * np.sqrt([0.2, 0.2, 0.6])
    z = np.abs(steps.cumsum(axis=1)) / np.sqrt([0.2, 0.4, 1.0])
    peeked = (z > norm.isf(0.025)).any(axis=1).mean()
    assert overall([0.05] * 3, [0.2, 0.4, 1]) == pytest.approx(peeked, abs=0.003)


@pytest.mark.parametrize("fractions", [[], [0.5, 0.5], [0.0, 1.0], [0.5, 1.2]])
def test_looks_that_do_not_rise_are_refused(fractions):
    with pytest.raises(UsageError, match=r"the looks must rise within \(0, 1\]"):
        spent(0.05, fractions)
    with pytest.raises(UsageError, match="alpha must lie"):
        spent(0.0, [1.0])
