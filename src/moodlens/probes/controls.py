"""What a probe reads when there is nothing to read: shuffled labels, and the baselines beside it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.stats.bootstrap import balanced_accuracy, class_means, interval, resamples
from moodlens.stats.design import Design, Unit

EXTREME = 0.999
"""Quantile of the permuted accuracies that a strong claim must exceed."""


@dataclass(frozen=True)
class Difference:
    """Accuracy of a probe minus that of a baseline on the same folds, resampled together."""

    baseline: str
    accuracy: float  # of the baseline
    difference: float
    low: float
    high: float


def selectivity(accuracies: Float[np.ndarray, "layer perm"]) -> Float[np.ndarray, " layer"]:
    """Return accuracy minus the mean accuracy on shuffled labels (the control task).

    Source: Hewitt and Liang 2019, Designing and interpreting probes with control tasks.

    >>> selectivity(np.array([[0.9, 0.2, 0.3]])).tolist()
    [0.65]
    """
    return accuracies[:, 0] - accuracies[:, 1:].mean(axis=1)


def best_extreme(accuracies: Float[np.ndarray, "layer perm"]) -> float:
    """Return the 99.9th percentile, over relabellings, of the best layer's accuracy."""
    return float(np.quantile(accuracies[:, 1:].max(axis=0), EXTREME))


def difference(
    baseline: str,
    correct: Float[np.ndarray, " prompt"],
    baseline_correct: Float[np.ndarray, " prompt"],
    design: Design,
    unit: Unit,
    n_bootstrap: int,
    confidence: float,
    rng: np.random.Generator,
) -> Difference:
    """Return by how much a probe beats a baseline: paired, by resampling whole units.

    Args:
        baseline: its name.
        correct, baseline_correct: 1 where the out-of-fold prediction is right; same folds.
        design, unit: what is resampled.
        n_bootstrap, confidence, rng: of the interval.
    """
    counts = resamples(design, unit, n_bootstrap, rng)
    draws = class_means(correct - baseline_correct, design.labels, counts)
    low, high = interval(draws, confidence)
    floor = float(balanced_accuracy(baseline_correct, design.labels))
    gain = float(balanced_accuracy(correct, design.labels)) - floor
    return Difference(baseline, floor, gain, float(low), float(high))
