"""Which clips sound as their prompt intends: a rule on descriptors and affect that looks at no layer.

High arousal asks for fast, loud and bright, high valence for major; low asks for the opposite. A descriptor
agrees where the clip lies on the intended side of the median clip of the run (mode: of 0, where major meets
minor). A clip clearly matches where at least `SHARE` of what its prompt intends agrees. Nothing is fitted, so
nothing leaks; chance is what the same clips give under labels dealt out anew to whole wordings.

Emotion between the prompts, from the clips that clearly match only.

To keep the clips that sound as intended makes the emotions differ in sound, and so in any place that holds
sound, even where the intention had no effect at all. So the choice belongs to the statistic: under every
relabelling the clips are chosen anew, by that labelling. `null` is what choosing alone gives.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.stats.gram import centred

AROUSED = ("tempo_bpm", "loudness_db", "centroid_hz")
"""Descriptors that high arousal raises: fast, loud, bright."""
PLEASANT = ("mode_margin",)
"""Descriptors that high valence raises: major."""
DESCRIPTORS = (*AROUSED, *PLEASANT)
ABSOLUTE = {"mode_margin": 0.0}
"""Borders with a meaning of their own; the others split at the median clip."""
CLEAR = 0.15
"""A prompt closer than this to the middle of valence or arousal intends nothing of its descriptors."""
SHARE = 0.75
"""Share of the intended descriptors that must agree: 3 of 4."""


@dataclass(frozen=True)
class Matches:
    """What agrees, per clip, under every labelling; the observed labelling is first."""

    matched: Bool[np.ndarray, "perm clip"]  # clearly matches
    by_emotion: Float[np.ndarray, "perm klass"]  # share of each emotion's clips

    @property
    def share(self) -> Float[np.ndarray, " perm"]:
        """The mean over emotions: an emotion counts the same whatever its number of clips."""
        return self.by_emotion.mean(axis=1)


def sides(
    descriptors: Float[np.ndarray, "clip descriptor"],
) -> Float[np.ndarray, "clip descriptor"]:
    """Return on which side of its border each descriptor lies: +1 above, -1 below, 0 on it.

    Args:
        descriptors: columns in the order of `DESCRIPTORS`.
    """
    medians = dict(zip(DESCRIPTORS, np.median(descriptors, axis=0), strict=True))
    return np.sign(descriptors - np.array([ABSOLUTE.get(name, medians[name]) for name in DESCRIPTORS]))


def intended(
    valence: Float[np.ndarray, "*shape"], arousal: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape descriptor"]:
    """Return the side that each descriptor should lie on: +1, -1, or 0 where nothing is intended.

    >>> intended(np.array([0.6]), np.array([-0.7])).tolist()       # calm: slow, soft, dark, major
    [[-1.0, -1.0, -1.0, 1.0]]
    """
    asked = [arousal] * len(AROUSED) + [valence] * len(PLEASANT)
    return np.stack([np.where(np.abs(value) < CLEAR, 0.0, np.sign(value)) for value in asked], axis=-1)


def matches(
    descriptors: Float[np.ndarray, "clip descriptor"],
    valence: Float[np.ndarray, " klass"],
    arousal: Float[np.ndarray, " klass"],
    labels: Int[np.ndarray, "perm clip"],
) -> Matches:
    """Return which clips clearly match, under every labelling.

    Args:
        descriptors: columns in the order of `DESCRIPTORS`, one row per clip.
        valence, arousal: what each emotion intends, the mean over its prompts.
        labels: emotion of every clip under each labelling; the first is the observed one.

    Raises:
        ContractError: no emotion intends anything.
    """
    wanted = intended(valence, arousal)
    if not wanted.any():
        advice = "Give the prompts valence and arousal"
        rule = f"lie at least {CLEAR} from the middle for some emotion"
        raise ContractError(must("valence and arousal", rule, "all near 0", next_step=advice))
    agrees = sides(descriptors)[:, None, :] * wanted[None] > 0
    n_wanted = (wanted != 0).sum(axis=1)
    enough = (agrees.sum(axis=2) >= SHARE * n_wanted) & (n_wanted > 0)
    matched = enough[np.arange(len(descriptors)), labels]
    shares = [(matched & (labels == k)).sum(axis=1) / (labels == k).sum(axis=1) for k in range(len(wanted))]
    return Matches(matched, np.stack(shares, axis=1))


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
