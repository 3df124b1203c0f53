"""How far apart the emotions are in each window of time, under the observed labels and under relabellings."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.stats.bootstrap import interval
from moodlens.stats.gram import CONSTANT, cosines
from moodlens.stats.permanova import pseudo_f, sums_of_squares
from moodlens.stats.similarity import within_between


@dataclass(frozen=True)
class Separation:
    """One layer over time; a unit is a wording (or a prompt where no two share one)."""

    site: str
    effect: Float[np.ndarray, " window"]  # within - between, cosines of unit means around their mean
    low: Float[np.ndarray, " window"]
    high: Float[np.ndarray, " window"]
    share: Float[np.ndarray, " window"]  # of the variance between units, held by emotion
    f: Float[np.ndarray, "window perm"]  # pseudo-F; column 0 is the observed labelling


def unit_grams(
    site: str, means: Float[np.ndarray, "unit window d_model"]
) -> Float[np.ndarray, "window unit unit"]:
    """Return the centred Gram matrix of the units in each window, scaled to mean diagonal 1.

    Raises:
        ContractError: in some window all units are equal.
    """
    by_window = np.moveaxis(means, 1, 0).astype(np.float64)
    scale = np.square(by_window).mean(axis=(1, 2))
    moved = by_window - by_window.mean(axis=1, keepdims=True)
    grams = moved @ np.swapaxes(moved, 1, 2)
    diagonal = np.trace(grams, axis1=1, axis2=2) / means.shape[0]
    dead = np.flatnonzero(diagonal <= CONSTANT * scale * means.shape[2])
    if dead.size:
        got = f"one state for all in window {dead[0]}"
        advice = "Leave its half or site out of generate"
        raise ContractError(must(f"site {site}", "differ between prompts", got, next_step=advice))
    return grams / diagonal[:, None, None]


def separation(
    site: str,
    means: Float[np.ndarray, "unit window d_model"],
    table: Int[np.ndarray, "perm unit"],
    counts: Int[np.ndarray, "boot unit"],
    confidence: float,
) -> Separation:
    """Return the separation of the emotions in each window.

    Args:
        site: name for errors and tables.
        means: mean state of each unit in each window.
        table: relabellings of the units, the observed one first.
        counts: bootstrap resamples, how often each unit occurs.
        confidence: of the pointwise intervals.
    """
    grams = unit_grams(site, means)
    labels = table[0]
    between, total = sums_of_squares(grams, table[:1])
    once = np.ones((1, len(labels)), dtype=np.int64)
    effect, low, high = (np.empty(len(grams)) for _ in range(3))
    for window, gram in enumerate(grams):
        similarity = cosines(gram)
        effect[window] = np.subtract(*within_between(similarity, labels, once))[0]
        draws = np.subtract(*within_between(similarity, labels, counts))
        low[window], high[window] = interval(draws, confidence)
    return Separation(site, effect, low, high, (between / total)[:, 0], pseudo_f(grams, table))
