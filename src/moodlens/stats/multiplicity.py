"""Correction for many tests: maxT answers whether any test differs, Benjamini-Hochberg which ones."""

import numpy as np
from jaxtyping import Float

from moodlens.stats.permutation import TIE, p_values


def standard_scores(statistics: Float[np.ndarray, "test perm"]) -> Float[np.ndarray, "test perm"]:
    """Return each test's statistics as standard scores over its relabellings.

    Layers differ in effective dimension, so the spread of F under the null differs between them. Without
    scaling, the layer with the widest null would determine the maximum. Mean and deviation treat all
    relabellings alike, so the test stays exact.
    """
    spread = statistics.std(axis=1, keepdims=True)
    return (statistics - statistics.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)


def max_t(statistics: Float[np.ndarray, "test perm"]) -> Float[np.ndarray, " test"]:
    """Return p adjusted for the best of all tests: step-down maxT over standard scores.

    Args:
        statistics: larger is more extreme; column 0 is the observed labelling.

    Source: Westfall and Young 1993, Resampling-based multiple testing, algorithm 4.1 (maxT).
    """
    scores = standard_scores(statistics)
    order = np.argsort(-scores[:, 0], kind="stable")
    # The maximum over this test and all less extreme ones, for each relabelling.
    running = np.maximum.accumulate(scores[order][::-1], axis=0)[::-1]
    observed = scores[order, :1]
    stepped = (running >= observed - TIE * (1 + np.abs(observed))).mean(axis=1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted


def max_p(statistics: Float[np.ndarray, "test perm"]) -> float:
    """Return the p of the best test of a family, without scaling: all statistics must share one scale."""
    return float(p_values(statistics.max(axis=0)))


def benjamini_hochberg(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Return q values: the false discovery rate at which each test is rejected.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]

    Source: Benjamini and Hochberg 1995; equals `scipy.stats.false_discovery_control`.
    """
    m = len(p)
    order = np.argsort(p)
    scaled = p[order] * m / np.arange(1, m + 1)
    q = np.empty(m)
    q[order] = np.minimum(1, np.minimum.accumulate(scaled[::-1])[::-1])
    return q
