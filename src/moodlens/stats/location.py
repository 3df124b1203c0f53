"""The test of location of a site: pseudo-F, or W_d* where pseudo-F does not keep its level.

W_d* is used where the emotions' numbers of units differ by more than a factor of `MOST_UNEQUAL`, or where
PERMDISP finds the emotions' spreads different. The design and the spreads decide, never the size of the
effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.permanova import dispersion_f, pseudo_f
from moodlens.stats.permutation import p_values
from moodlens.stats.welch import w_d_star

Statistic = Literal["pseudo_f", "w_d_star"]
MOST_UNEQUAL = 1.5
"""Ratio of the largest to the smallest number of units above which pseudo-F is not used."""
DISPERSION_ALPHA = 0.05
DISPERSION_RELABELLINGS = 1_999
"""Relabellings of PERMDISP: enough to compare p with .05."""


@dataclass(frozen=True)
class Choice:
    """The statistic of one site, and the p of PERMDISP."""

    statistic: Statistic
    p_dispersion: float


def size_ratio(labels: Int[np.ndarray, " unit"]) -> float:
    """Return the largest number of units of an emotion divided by the smallest.

    >>> size_ratio(np.array([0, 0, 0, 1, 1]))
    1.5
    """
    counts = np.bincount(labels)
    return float(counts.max() / counts.min())


def choices(
    grams: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> tuple[Choice, ...]:
    """Return the statistic of every site.

    Args:
        grams: Gram matrices of unit means.
        labels: relabellings, the observed one first; at most `DISPERSION_RELABELLINGS` are used.
    """
    p = p_values(dispersion_f(grams, labels[: DISPERSION_RELABELLINGS + 1]))
    unequal = size_ratio(labels[0]) > MOST_UNEQUAL
    return tuple(
        Choice("w_d_star" if unequal or value < DISPERSION_ALPHA else "pseudo_f", float(value)) for value in p
    )


def located(
    grams: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "site perm"]:
    """Return the chosen statistic of every site under every labelling."""
    return location_statistics(grams, labels, [choice.statistic for choice in choices(grams, labels)])


def location_statistics(
    grams: Float[np.ndarray, "site unit unit"],
    labels: Int[np.ndarray, "perm unit"],
    statistics: Sequence[Statistic],
) -> Float[np.ndarray, "site perm"]:
    """Return each site's statistic under every labelling.

    Args:
        grams: centred Gram matrices of unit means.
        labels: relabellings, the observed one first.
        statistics: of each site, from `choices`.
    """
    out = np.empty((len(grams), len(labels)))
    functions = {"pseudo_f": pseudo_f, "w_d_star": w_d_star}
    for name, function in functions.items():
        sites = np.array([statistic == name for statistic in statistics])
        if sites.any():
            out[sites] = function(grams[sites], labels)
    return out
