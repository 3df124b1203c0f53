"""The share of variance without signal: the mean over every relabelling, counted out."""

from itertools import permutations

import numpy as np
import pytest

from moodlens.stats.design import design_of
from moodlens.temporal.tables import _emotion_share, _share_null


def test_the_null_share_is_the_mean_over_all_relabellings():
    values = np.array([0.3, -1.2, 2.0, 0.1, 5.0, -0.4])[:, None]
    designs = [
        design_of([*"abcdef"], [*labels], [*"abcdef"]) for labels in sorted(set(permutations("xxyyzz")))
    ]
    assert len(designs) == 90
    mean = np.mean([_emotion_share(design, values)[0] for design in designs])
    assert _share_null(designs[0]) == pytest.approx(mean) == pytest.approx(2 / 5)
