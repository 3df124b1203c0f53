"""The calibration classifier, which predicts the emotion of a clip from its acoustic descriptors.

It is fitted on clips of known emotion. `is_major`, `is_fast` and `order_right` check single factors, because
pooled accuracy hides a factor that was not learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from moodlens.audio.descriptors import Descriptors
from moodlens.base.errors import ContractError, must

INPUTS = ("log2 tempo", "onset rate", "log centroid", "loudness", "mode margin")
FAST_ONSET_RATE_HZ = 2.0
MAJOR_MARGIN = 0.0
INVERSE_PENALTY = 10.0
NO_TEMPO_BPM = 100.0
"""Stands for a tempo that was not measured: the middle of the range in octaves, which favours no emotion."""


@dataclass(frozen=True)
class EmotionClassifier:
    """A fitted multinomial logistic regression on INPUTS, standardised."""

    model: Pipeline
    emotions: tuple[str, ...]  # in the order of the model's classes


def inputs_of(descriptors: Sequence[Descriptors]) -> Float[np.ndarray, "clip input=5"]:
    """Return the classifier's inputs, one row per clip: INPUTS in (log2 bpm, Hz, log Hz, dB, -)."""
    rows = [
        (
            np.log2(clip.tempo_bpm if np.isfinite(clip.tempo_bpm) else NO_TEMPO_BPM),
            clip.onset_rate_hz,
            np.log(max(clip.centroid_hz, 1.0)),
            clip.loudness_db,
            clip.mode_margin,
        )
        for clip in descriptors
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, len(INPUTS))


def fit(descriptors: Sequence[Descriptors], emotions: Sequence[str]) -> EmotionClassifier:
    """Return the classifier fitted on clips of known emotion.

    Raises:
        ContractError: the numbers of descriptors and emotions differ, or there are fewer than two emotions.
    """
    if len(descriptors) != len(emotions):
        got = f"{len(descriptors)} clips and {len(emotions)} emotions"
        raise ContractError(must("calibration set", "name one emotion per clip", got, next_step="Align them"))
    if len(set(emotions)) < 2:
        got = ", ".join(sorted(set(emotions))) or "none"
        raise ContractError(must("calibration set", "hold two emotions", got, next_step="Add an emotion"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=2000))
    model.fit(inputs_of(descriptors), np.array(emotions))
    return EmotionClassifier(model, tuple(str(name) for name in model.classes_))


def predict(classifier: EmotionClassifier, descriptors: Sequence[Descriptors]) -> list[str]:
    """Return the predicted emotion of each clip."""
    return [str(name) for name in classifier.model.predict(inputs_of(descriptors))]


def is_major(descriptors: Sequence[Descriptors]) -> Bool[np.ndarray, " clip"]:
    """Return whether each clip is classified as major: its mode margin exceeds MAJOR_MARGIN."""
    return np.array([clip.mode_margin > MAJOR_MARGIN for clip in descriptors], dtype=bool)


def is_fast(descriptors: Sequence[Descriptors]) -> Bool[np.ndarray, " clip"]:
    """Return whether each clip is classified as fast: its onset rate exceeds FAST_ONSET_RATE_HZ."""
    return np.array([clip.onset_rate_hz > FAST_ONSET_RATE_HZ for clip in descriptors], dtype=bool)


def order_right(higher: Float[np.ndarray, " clip_a"], lower: Float[np.ndarray, " clip_b"]) -> float:
    """Return the share of pairs (one of each) in which `higher` is larger, ties counting half.

    >>> order_right(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    difference = np.subtract.outer(higher, lower)
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))
