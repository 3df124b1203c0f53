"""One number per clip (magnitude, variance over time, spectral centroid): does emotion move it?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.multiplicity import max_t
from moodlens.stats.permanova import pseudo_f, sums_of_squares
from moodlens.stats.permutation import p_values


@dataclass(frozen=True)
class Reading:
    """One reading, tested over units with one-way F; all corrected together."""

    means: Float[np.ndarray, " klass"]  # of each emotion's units, in the unit of the reading
    ratio: float | None  # largest / smallest mean, of positive readings
    f: float
    share: float  # of the variance between units, held by emotion
    p: float
    p_max: float  # maxT over all readings given


def by_emotion(
    values: Float[np.ndarray, "reading unit"], table: Int[np.ndarray, "perm unit"]
) -> tuple[Reading, ...]:
    """Return every reading by emotion with its F and p.

    Args:
        values: each reading of each unit; a constant one gets F 0 and p 1.
        table: relabellings of the units, the observed one first.
    """
    moved = values - values.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(moved).mean(axis=1, keepdims=True))
    varies = spread[:, 0] > 1e-12 * (np.abs(values).max(axis=1) + 1e-300)
    grams = np.zeros((len(values), values.shape[1], values.shape[1]))
    scaled = moved[varies] / spread[varies]
    grams[varies] = scaled[:, :, None] * scaled[:, None, :]
    f, share = np.zeros((len(values), len(table))), np.zeros(len(values))
    if varies.any():
        f[varies] = pseudo_f(grams[varies], table)
        between, total = sums_of_squares(grams[varies], table[:1])
        share[varies] = (between / total)[:, 0]
    p, adjusted = p_values(f), max_t(f)
    onehot = table[0] == np.arange(table[0].max() + 1)[:, None]
    means = values @ onehot.T / onehot.sum(axis=1)
    return tuple(
        Reading(
            means[i],
            float(means[i].max() / means[i].min()) if means[i].min() > 0 else None,
            float(f[i, 0]),
            float(share[i]),
            float(p[i]),
            float(adjusted[i]),
        )
        for i in range(len(values))
    )
