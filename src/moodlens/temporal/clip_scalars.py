"""Scalars of a clip (magnitude, variance over time, spectral centroid), tested between emotions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.multiplicity import max_t
from moodlens.stats.permanova import pseudo_f, sums_of_squares
from moodlens.stats.permutation import p_values


@dataclass(frozen=True)
class ScalarTest:
    """One scalar, tested over units with one-way F; all scalars are corrected together."""

    means: Float[np.ndarray, " klass"]  # of each emotion's units, in the unit of the scalar
    ratio: float | None  # largest / smallest mean; None if a mean is not positive
    f: float
    share: float  # of the variance between units, held by emotion
    p: float
    p_max: float  # maxT over all scalars


def by_emotion(
    values: Float[np.ndarray, "scalar unit"], table: Int[np.ndarray, "perm unit"]
) -> tuple[ScalarTest, ...]:
    """Return the means of every scalar by emotion, with its F and p.

    Args:
        values: every scalar of every unit; a constant one gets F 0 and p 1.
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
        ScalarTest(
            means=means[i],
            ratio=float(means[i].max() / means[i].min()) if means[i].min() > 0 else None,
            f=float(f[i, 0]),
            share=float(share[i]),
            p=float(p[i]),
            p_max=float(adjusted[i]),
        )
        for i in range(len(values))
    )
