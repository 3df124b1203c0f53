"""Controls of a probe: shuffled labels, and the comparison with baselines on the same folds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.stats.bootstrap import balanced_accuracy, class_means, interval, resamples
from moodlens.stats.design import Design, Unit
from moodlens.stats.sign_flip import better_p

EXTREME = 0.999
"""Quantile of the permuted accuracies that a strong claim must exceed."""


@dataclass(frozen=True)
class Comparison:
    """How a probe is compared with a baseline."""

    n_folds: int  # of the cross-validation, the same for both
    n_bootstrap: int
    n_flips: int
    confidence: float


@dataclass(frozen=True)
class Difference:
    """Accuracy of a probe minus that of a baseline on the same folds."""

    baseline: str
    accuracy: float  # of the baseline
    difference: float  # to the baseline, or to chance where the baseline is below it
    low: float  # the interval is descriptive: it leaves out the choice of the probe and shared training data
    high: float
    p: float  # the test: one-sided, sign flips of whole units, for the best of all compared probes


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
    correct: Float[np.ndarray, "site prompt"],
    chosen: int,
    baseline_correct: Float[np.ndarray, "*each prompt"],
    design: Design,
    unit: Unit,
    settings: Comparison,
    rng: np.random.Generator,
) -> Difference:
    """Return the gain of the chosen probe of a family over a baseline, paired by prompt.

    A baseline below chance counts as chance: where emotions share their nuisance, the nuisance words of a
    held-out wording point to the other emotions, and nothing is gained by beating that.

    Args:
        baseline: name of the baseline.
        correct: 1 where the out-of-fold prediction of each probe of the family is right.
        chosen: index of the reported probe.
        baseline_correct: the same for the baseline, one row for all probes or (site, prompt); same folds.
        design, unit: whole units are resampled and share a sign.
        settings: folds, resamples and flips.
        rng: source of the resamples and signs.
    """
    rows = np.atleast_2d(baseline_correct)
    accuracies, chance = balanced_accuracy(rows, design.labels), 1 / design.n_classes
    floors = np.where((accuracies < chance)[:, None], chance, rows)
    index = chosen if baseline_correct.ndim == 2 else 0
    low, high = gain_interval(correct[chosen], floors[index], design, unit, settings, rng)
    p = better_p(correct, floors, design, unit, settings.n_folds, settings.n_flips, rng)[chosen]
    own = float(accuracies[index])
    gain = float(balanced_accuracy(correct[chosen], design.labels)) - max(own, chance)
    return Difference(baseline, own, gain, low, high, float(p))


def gain_interval(
    correct: Float[np.ndarray, " prompt"],
    baseline_correct: Float[np.ndarray, " prompt"],
    design: Design,
    unit: Unit,
    settings: Comparison,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the bootstrap interval of one probe's gain, whole units resampled. It is not a test."""
    counts = resamples(design, unit, settings.n_bootstrap, rng)
    draws = class_means(correct - baseline_correct, design.labels, counts)
    low, high = interval(draws, settings.confidence)
    return float(low), float(high)
