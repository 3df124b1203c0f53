"""Clips that sound as their prompt intends, and the effect of emotion on those clips alone.

Matching uses descriptors and intended affect only, no layer. High arousal intends fast, loud and bright
music, high valence intends major; low values intend the opposite. A descriptor agrees if the clip lies on the
intended side of the median clip of the run (for mode: of 0, the border of major and minor). A clip clearly
matches if at least `SHARE` of what its prompt intends agrees. Nothing is fitted, so nothing leaks. Chance is
the result for the same clips under labels permuted over whole wordings.

Selecting clips that sound as intended makes the emotions differ in sound, and so at any site that represents
sound, even if the intention had no effect. So the selection is part of the statistic: under every relabelling
the clips are selected anew, by that labelling. The mean over relabellings is the effect of the selection
alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.base.errors import Unsupported, must
from moodlens.stats.gram import centred

AROUSED = ("tempo_bpm", "loudness_db", "centroid_hz")
"""Descriptors that high arousal raises: fast, loud, bright."""
PLEASANT = ("mode_margin",)
"""Descriptors that high valence raises: major."""
DESCRIPTORS = (*AROUSED, *PLEASANT)
ABSOLUTE = {"mode_margin": 0.0}
"""Fixed borders; all other descriptors are split at the median clip."""
CLEAR = 0.15
"""A prompt with valence or arousal closer than this to the middle intends nothing for its descriptors."""
SHARE = 0.75
"""Share of the intended descriptors that must agree: 3 of 4."""


@dataclass(frozen=True)
class Matches:
    """Matching clips under every labelling; the observed labelling is first."""

    matched: Bool[np.ndarray, "perm clip"]  # clearly matches
    by_emotion: Float[np.ndarray, "perm klass"]  # share of each emotion's clips

    @property
    def share(self) -> Float[np.ndarray, " perm"]:
        """The mean over emotions: all emotions have equal weight whatever their number of clips."""
        return self.by_emotion.mean(axis=1)


def sides(
    descriptors: Float[np.ndarray, "clip descriptor"],
) -> Float[np.ndarray, "clip descriptor"]:
    """Return the side of its border on which each descriptor lies: +1 above, -1 below, 0 on it.

    Args:
        descriptors: columns in the order of `DESCRIPTORS`.
    """
    medians = dict(zip(DESCRIPTORS, np.median(descriptors, axis=0), strict=True))
    return np.sign(descriptors - np.array([ABSOLUTE.get(name, medians[name]) for name in DESCRIPTORS]))


def intended(
    valence: Float[np.ndarray, "*shape"], arousal: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape descriptor"]:
    """Return the intended side of each descriptor: +1, -1, or 0 if nothing is intended.

    >>> intended(np.array([0.6]), np.array([-0.7])).tolist()       # calm: slow, soft, dark, major
    [[-1.0, -1.0, -1.0, 1.0]]
    """
    scales = [arousal] * len(AROUSED) + [valence] * len(PLEASANT)
    return np.stack([np.where(np.abs(value) < CLEAR, 0.0, np.sign(value)) for value in scales], axis=-1)


def matches(
    descriptors: Float[np.ndarray, "clip descriptor"],
    valence: Float[np.ndarray, " klass"],
    arousal: Float[np.ndarray, " klass"],
    labels: Int[np.ndarray, "perm clip"],
) -> Matches:
    """Return which clips clearly match, under every labelling.

    Args:
        descriptors: columns in the order of `DESCRIPTORS`, one row per clip.
        valence, arousal: intended values of each emotion, means over its prompts.
        labels: emotion of every clip under each labelling; the first is the observed one.

    Raises:
        ContractError: no emotion intends anything.
    """
    wanted = intended(valence, arousal)
    if not wanted.any():
        advice = "Give the prompts valence and arousal"
        rule = f"lie at least {CLEAR} from the middle for some emotion"
        raise Unsupported(must("valence and arousal", rule, "all near 0", next_step=advice))
    agrees = sides(descriptors)[:, None, :] * wanted[None] > 0
    n_wanted = (wanted != 0).sum(axis=1)
    enough = (agrees.sum(axis=2) >= SHARE * n_wanted) & (n_wanted > 0)
    matched = enough[np.arange(len(descriptors)), labels]
    shares = [(matched & (labels == k)).sum(axis=1) / (labels == k).sum(axis=1) for k in range(len(wanted))]
    return Matches(matched, np.stack(shares, axis=1))


FEWEST_UNITS = 2
"""Fewest matching units of an emotion for which an effect is defined."""


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
    between them. It is of the same kind as the effect of the sweep, but fast enough to select clips anew for
    every relabelling.

    Args:
        grams: Gram matrices of clips.
        matched: clips selected under each labelling, from `matches`.
        units: the wording of each clip, 0..n_units-1.
        labels: emotion of each unit under each labelling; the first is the observed one.
    """
    n_units = int(units.max()) + 1
    onehot = (units[None, :] == np.arange(n_units)[:, None]).astype(np.float64)
    out = np.full((len(grams), len(labels)), np.nan)
    n_classes = int(labels.max()) + 1
    for perm, (selected, label) in enumerate(zip(matched, labels, strict=True)):
        weights = onehot * selected
        sizes = weights.sum(axis=1)
        present = sizes > 0
        own = label[present]
        if np.bincount(own, minlength=n_classes).min() < FEWEST_UNITS:
            continue
        weights = weights[present] / sizes[present, None]
        means = centred(weights @ grams @ weights.T)
        scale = np.trace(means, axis1=1, axis2=2)[:, None, None] / len(own)
        out[:, perm] = _within_between(means / scale, own)
    return MatchedEffect(out)


def _within_between(
    gram: Float[np.ndarray, "layer unit unit"], labels: Int[np.ndarray, " unit"]
) -> Float[np.ndarray, " layer"]:
    same = labels[:, None] == labels[None, :]
    alike = same & ~np.eye(len(labels), dtype=bool)
    return gram[:, alike].mean(axis=1) - gram[:, ~same].mean(axis=1)
