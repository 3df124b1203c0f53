"""Separation in each window: hand-worked, against the tests of `stats`, and with clear errors."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.stats.bootstrap import resamples
from moodlens.stats.gram import cosines, site_gram
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import relabellings
from moodlens.stats.similarity import centred_cosines
from moodlens.temporal.separation import separation, unit_grams
from tests.stats.synthetic import design

LINE = np.array([-1.0, -2.0, 1.0, 2.0]).reshape(4, 1, 1)


def test_two_emotions_on_a_line():
    labels = np.array([0, 0, 1, 1])
    found = separation("layer", LINE + 7, labels[None], np.ones((1, 4), dtype=int), 0.95)
    assert found.f[0, 0] == pytest.approx(18.0)  # 9 / 1 over 1 / 2
    assert found.share[0] == pytest.approx(0.9)
    assert found.effect[0] == pytest.approx(2.0)  # cosines 1 within, -1 between


def test_each_window_equals_the_sweep_of_that_window_alone():
    rng = np.random.default_rng(0)
    made = design(6, 6, 6)
    means = rng.normal(size=(18, 3, 5)) + 2
    table = relabellings(made.labels, 20, rng)
    counts = resamples(made, "prompt", 200, rng)
    found = separation("layer", means, table, counts, 0.9)
    for window in range(3):
        alone = site_gram("w", means[:, window], np.arange(18))
        similarity = centred_cosines(alone)
        same = made.labels[:, None] == made.labels
        alike = same & ~np.eye(18, dtype=bool)
        assert found.effect[window] == pytest.approx(similarity[alike].mean() - similarity[~same].mean())
        gram = unit_grams("w", means)[window]
        assert np.allclose(cosines(gram), similarity)
        assert np.allclose(found.f[window], pseudo_f(gram[None], table)[0])
        assert found.low[window] < found.effect[window] < found.high[window]


def test_one_state_for_all_is_one_line():
    means = np.random.default_rng(0).normal(size=(4, 3, 2)) + 1
    means[:, 1] = 3.0
    with pytest.raises(
        ContractError, match="site null/cond must differ between prompts; got 'one state for all in window 1'"
    ):
        unit_grams("null/cond", means)
