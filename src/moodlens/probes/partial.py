"""What a layer adds to what is already known: partial R2 of the emotions beyond another site, out of fold.

partial R2 = 1 - SSE(base and layer) / SSE(base), targets: one indicator per emotion. Base and layer enter as
one kernel K_base + w K_layer; w (0 among its candidates) and the penalty are chosen inside the training
folds, for the base alone likewise. "Beyond" means beyond what ridge regression reads from the base: a layer
that only lays the same information out better for a ridge may still gain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.probes.regression import nested_predictions
from moodlens.stats.bootstrap import interval

WEIGHTS = (0.0, 0.3, 1.0, 3.0)
"""Candidate weights of the layer's kernel beside the base's, both at mean diagonal 1."""
ROUNDING = 9
"""Decimals beyond which a gain is rounding: where w = 0 is chosen throughout, it is exactly 0."""


@dataclass(frozen=True)
class Partial:
    """Partial R2 of one site beyond a base; the interval resamples whole units."""

    partial_r2: float
    low: float
    high: float
    r2_base: float  # of the base alone


def partial_r2(
    base: Float[np.ndarray, "prompt prompt"],
    layers: Float[np.ndarray, "layer prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    folds: Int[np.ndarray, " prompt"],
    ridges: Sequence[float],
    counts: Int[np.ndarray, "boot prompt"],
    confidence: float,
) -> list[Partial]:
    """Return what each layer adds to the base.

    Args:
        base, layers: centred Gram matrices at mean diagonal 1.
        labels: emotion of each prompt.
        folds: that hold out whole units.
        ridges: candidate penalties.
        counts: resamples of whole units, from `stats.bootstrap.resamples`.
        confidence: of the intervals. Models are fitted once; what is resampled is their errors.
    """
    targets = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
    predicted, means = nested_predictions(base[None], folds, ridges, targets, columns_together=True)
    alone = ((targets - predicted) ** 2).sum(axis=1)
    guess = ((targets - means) ** 2).sum()
    found = []
    for layer in layers:
        kernels = np.stack([base + weight * layer for weight in WEIGHTS])
        predicted, _ = nested_predictions(kernels, folds, ridges, targets, columns_together=True)
        together = ((targets - predicted) ** 2).sum(axis=1)
        draws = 1 - (counts @ together) / (counts @ alone)
        low, high = interval(draws, confidence)
        gain = 1 - together.sum() / alone.sum()
        gain, low, high = (round(float(value), ROUNDING) + 0.0 for value in (gain, low, high))
        found.append(Partial(gain, low, high, float(1 - alone.sum() / guess)))
    return found
