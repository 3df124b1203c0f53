"""The affect plane: valence and arousal, and the five emotions as regions of it."""

from dataclasses import dataclass

import numpy as np

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError, must, nearest
from moodlens.prompts.lexicon import AFFECT

SPREAD_LIMIT = 2.0
"""A sampled point stays within this many spreads of its region's centre."""


@dataclass(frozen=True)
class Affect:
    """A point of the affect plane."""

    valence: float  # [-1, 1], unpleasant to pleasant
    arousal: float  # [-1, 1], quiet to excited

    def __post_init__(self) -> None:
        for name, value in (("valence", self.valence), ("arousal", self.arousal)):
            if not -1.0 <= value <= 1.0:
                raise UsageError(must(name, "lie in [-1, 1]", value, next_step="Rescale it"))


@dataclass(frozen=True)
class Region:
    """An emotion on the affect plane: a truncated Gaussian around `centre`."""

    centre: Affect
    valence_spread: float  # standard deviation before truncation
    arousal_spread: float


REGIONS = {
    emotion: Region(Affect(*AFFECT[emotion]), valence_spread=0.07, arousal_spread=0.05)
    for emotion in EMOTIONS
}


def region_of(emotion: str) -> Region:
    """Return the region of an emotion.

    Raises:
        UsageError: the name is not one of EMOTIONS.
    """
    if emotion not in REGIONS:
        advice = nearest(emotion, list(REGIONS))
        raise UsageError(must("emotion", "be one of the five emotions", emotion, next_step=advice))
    return REGIONS[emotion]


def sample_affect(rng: np.random.Generator, emotion: str) -> Affect:
    """Return a point of the emotion's region, drawn by `rng` from its truncated Gaussian."""
    region = region_of(emotion)
    z = np.clip(rng.standard_normal(2), -SPREAD_LIMIT, SPREAD_LIMIT)
    valence = region.centre.valence + region.valence_spread * z[0]
    arousal = region.centre.arousal + region.arousal_spread * z[1]
    return Affect(float(np.clip(valence, -1, 1)), float(np.clip(arousal, -1, 1)))
