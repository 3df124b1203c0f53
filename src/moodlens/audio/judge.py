"""A judge: a fitted classifier of emotion from the acoustic descriptors of a clip's last seconds.

A judge gives log-odds between two emotions, which do not saturate as accuracy does. The judge of the embedded
models is fitted on pieces of their synthesiser; it has seen neither prompts nor generated clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from moodlens.audio.classifier import inputs_of
from moodlens.audio.descriptors import Descriptors, describe
from moodlens.base.errors import ContractError, must

INVERSE_PENALTY = 0.3
"""A strong penalty: log-odds grow with the distance between clips, not with the certainty of the fit."""
BATCH_CLIPS = 64
"""Clips that are decoded to audio at once, which bounds memory."""


@dataclass(frozen=True)
class Judge:
    """Multinomial logistic regression on `classifier.INPUTS`, standardised."""

    window_s: float  # it judges the last seconds of a clip
    emotions: tuple[str, ...]
    centre: tuple[float, ...]  # of each input
    scale: tuple[float, ...]  # of each input
    coefficients: tuple[tuple[float, ...], ...]  # (emotion, input)
    intercepts: tuple[float, ...]  # (emotion,)
    n_clips: int  # that it was fitted on
    accuracy: float = float("nan")  # on other clips
    gaps: Mapping[str, float] = field(default_factory=dict)
    """"happy - sad" -> difference of mean log-odds between other clips of the two emotions."""

    def logits(self, descriptors: Sequence[Descriptors]) -> Float[np.ndarray, "clip emotion"]:
        """Return the unnormalised log-probability of every emotion for each clip."""
        standard = (inputs_of(descriptors) - np.array(self.centre)) / np.array(self.scale)
        return standard @ np.array(self.coefficients).T + np.array(self.intercepts)

    def log_odds(
        self, descriptors: Sequence[Descriptors], one: str, other: str
    ) -> Float[np.ndarray, " clip"]:
        """Return log p(one) / p(other) of each clip, in nats.

        Raises:
            ContractError: the judge does not know one of the emotions.
        """
        for emotion in (one, other):
            if emotion not in self.emotions:
                advice = f"It knows {', '.join(self.emotions)}"
                raise ContractError(must("the judge", "know the emotion", emotion, next_step=advice))
        logits = self.logits(descriptors)
        return logits[:, self.emotions.index(one)] - logits[:, self.emotions.index(other)]

    def predict(self, descriptors: Sequence[Descriptors]) -> list[str]:
        """Return the most likely emotion of each clip."""
        return [self.emotions[index] for index in self.logits(descriptors).argmax(1)]


def last_seconds(
    waveforms: Float[np.ndarray, "clip sample"], sample_rate_hz: int, window_s: float
) -> list[Descriptors]:
    """Return the descriptors of the last `window_s` seconds of each clip."""
    n = round(window_s * sample_rate_hz)
    return [describe(waveform[-n:], sample_rate_hz) for waveform in waveforms]


def heard(
    decode: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, sample_rate_hz: int, window_s: float
) -> list[Descriptors]:
    """Return the descriptors of the last seconds of clips that are decoded BATCH_CLIPS at a time.

    Args:
        decode: tokens (clip, codebook, frame) -> waveforms, (clip, sample) or (clip, channel, sample).
        codes: tokens of the clips.
        sample_rate_hz: of the waveforms.
        window_s: seconds that are described.
    """
    sounds: list[Descriptors] = []
    for at in range(0, len(codes), BATCH_CLIPS):
        waveforms = decode(codes[at : at + BATCH_CLIPS])
        mono = waveforms if waveforms.ndim == 2 else waveforms.mean(axis=1)
        sounds += last_seconds(mono, sample_rate_hz, window_s)
    return sounds


def fit_judge(descriptors: Sequence[Descriptors], emotions: Sequence[str], window_s: float) -> Judge:
    """Return the judge fitted on the last seconds of clips of known emotion."""
    inputs = inputs_of(descriptors)
    scaler = StandardScaler().fit(inputs)
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=2000)
    model.fit(scaler.transform(inputs), np.array(emotions))
    names = tuple(str(name) for name in model.classes_)
    # with two classes scikit-learn keeps one row of coefficients, that of the second class
    rows, intercepts = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(names) == 2:
        rows, intercepts = np.concatenate([-rows / 2, rows / 2]), np.array([-1, 1]) * intercepts[0] / 2
    coefficients = tuple(_floats(row) for row in rows)
    return Judge(
        window_s, names, _floats(scaler.mean_), _floats(scaler.scale_), coefficients, _floats(intercepts),
        len(emotions),
    )  # fmt: skip


def measured(judge: Judge, descriptors: Sequence[Descriptors], emotions: Sequence[str]) -> Judge:
    """Return the judge with its accuracy and gaps on clips that it was not fitted on."""
    right = np.array(judge.predict(descriptors)) == np.array(emotions)
    return replace(judge, accuracy=float(right.mean()), gaps=_gaps(judge, descriptors, emotions))


def pair_name(one: str, other: str) -> str:
    """Return the name of a pair of emotions.

    >>> pair_name("happy", "sad")
    'happy - sad'
    """
    return f"{one} - {other}"


def _gaps(judge: Judge, descriptors: Sequence[Descriptors], emotions: Sequence[str]) -> dict[str, float]:
    names, gaps = np.array(emotions), {}
    for one in judge.emotions:
        for other in judge.emotions:
            if one != other:
                odds = judge.log_odds(descriptors, one, other)
                gap = odds[names == one].mean() - odds[names == other].mean()
                gaps[pair_name(one, other)] = float(gap)
    return gaps


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
