"""Intervals of accuracies that stay honest at 1: the bootstrap says [1, 1] there, whatever n is.

Clopper-Pearson limits at an effective sample size n_eff = a (1 - a) / v, v: the bootstrap variance under
resampling of whole units, never above the number of prompts. Where every prompt is right (or wrong) v is 0
and says nothing; then n_eff is the number of units, as if prompts of one unit were copies.

Source: Korn and Graubard 1998, Confidence intervals for proportions with small expected number of positive
counts estimated from survey data, Survey Methodology 24; Clopper and Pearson 1934.
"""

import numpy as np
from jaxtyping import Float
from scipy import stats as scipy_stats


def accuracy_interval(
    accuracy: float, draws: Float[np.ndarray, " boot"], n_units: int, n_prompts: int, confidence: float
) -> tuple[float, float]:
    """Return the interval of an accuracy.

    Args:
        accuracy: share of right answers; for the balanced accuracy its value stands for the share.
        draws: bootstrap accuracies, whole units resampled; NaN draws are left out.
        n_units: what was resampled.
        n_prompts: answers.
        confidence: of the interval.

    >>> low, high = accuracy_interval(1.0, np.ones(100), 36, 64, 0.95)
    >>> round(low, 4), high                                                    # .025^(1/36)
    (0.9026, 1.0)
    """
    variance = float(np.nanvar(draws))
    spread = accuracy * (1 - accuracy)
    size = min(spread / variance, n_prompts) if variance > 0 and spread > 0 else float(n_units)
    hits, tail = accuracy * size, (1 - confidence) / 2
    low = float(scipy_stats.beta.ppf(tail, hits, size - hits + 1)) if hits > 0 else 0.0
    high = float(scipy_stats.beta.ppf(1 - tail, hits + 1, size - hits)) if hits < size else 1.0
    return low, high
