"""Emotion between the prompts, from the clips that clearly match only.

To keep the clips that sound as intended makes the emotions differ in sound, and so in any place that holds
sound, even where the intention had no effect at all. So the choice belongs to the statistic: under every
relabelling the clips are chosen anew, by that labelling. `null` is what choosing alone gives.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.stats.gram import centred

FEWEST_UNITS = 2
"""Units of an emotion without which an effect has no meaning."""


@dataclass(frozen=True)
class MatchedEffect:
    """Effect at each layer under every labelling, NaN where an emotion has too few matching units."""

    effect: Float[np.ndarray, "layer perm"]  # within - between, share of the mean squared norm


def matched_effects(
    grams: Float[np.ndarray, "layer clip clip"],
    matched: Bool[np.ndarray, "perm clip"],
    units: Int[np.ndarray, " clip"],
    labels: Int[np.ndarray, "perm unit"],
) -> MatchedEffect:
    """Return the effect of every layer on the clips that match, under every labelling.

    The effect is the mean inner product of unit means (centred, at mean square 1) within emotions minus
    between them: the same kind of difference as the sweep's, cheap enough to choose clips anew each time.

    Args:
        grams: Gram matrices of clips.
        matched: clips kept under each labelling, from `matching.matches`.
        units: the wording of each clip, 0..n_units-1.
        labels: emotion of each unit under each labelling; the first is the observed one.
    """
    n_units = int(units.max()) + 1
    onehot = (units[None, :] == np.arange(n_units)[:, None]).astype(np.float64)
    out = np.full((len(grams), len(labels)), np.nan)
    n_classes = int(labels.max()) + 1
    for perm, (kept, label) in enumerate(zip(matched, labels, strict=True)):
        weights = onehot * kept
        sizes = weights.sum(axis=1)
        present = sizes > 0
        known = label[present]
        if np.bincount(known, minlength=n_classes).min() < FEWEST_UNITS:
            continue
        weights = weights[present] / sizes[present, None]
        means = centred(weights @ grams @ weights.T)
        scale = np.trace(means, axis1=1, axis2=2)[:, None, None] / len(known)
        out[:, perm] = _within_between(means / scale, known)
    return MatchedEffect(out)


def _within_between(
    gram: Float[np.ndarray, "layer unit unit"], labels: Int[np.ndarray, " unit"]
) -> Float[np.ndarray, " layer"]:
    same = labels[:, None] == labels[None, :]
    alike = same & ~np.eye(len(labels), dtype=bool)
    return gram[:, alike].mean(axis=1) - gram[:, ~same].mean(axis=1)
