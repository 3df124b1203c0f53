"""Emotion directions in the layers, and the angles between them.

The direction of an emotion is its mean over prompts minus the mean of the other emotions; that of valence or
arousal is the covariance with it. Centring is in the definition. Standardised: every dimension first divided
by its deviation within emotions (a diagonal whitening; a full one would need more prompts than dimensions).

Directions from the same prompts share their noise, so even two layers without emotion agree. `split` takes
one direction from half of the units and the other from the other half: their noise is independent. For a
layer with itself it is the reliability of the direction, the ceiling of its agreement with other layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

N_SPLITS = 20
"""Random halves of the units."""


@dataclass(frozen=True)
class Angle:
    """Cosines between two directions at two layers (indices into the layers given)."""

    layer_a: int
    layer_b: int
    direction_a: str
    direction_b: str
    cosine: float
    split: float  # directions from disjoint halves of the units
    standardised: float


def contrasts(
    labels: Int[np.ndarray, " prompt"],
    emotions: Sequence[str],
    scales: Mapping[str, Float[np.ndarray, " prompt"]],
) -> dict[str, Float[np.ndarray, " prompt"]]:
    """Return weights over prompts for every direction: emotions (against the others), then the scales.

    >>> contrasts(np.array([0, 0, 1]), ("happy", "sad"), {})["happy"].tolist()
    [0.5, 0.5, -1.0]
    """
    sizes = np.bincount(labels, minlength=len(emotions)).astype(np.float64)
    found = {}
    for klass, emotion in enumerate(emotions):
        share = np.full(len(emotions), -1 / (len(emotions) - 1))
        share[klass] = 1.0
        found[emotion] = (share / sizes)[labels]
    for name, values in scales.items():
        found[name] = values - values.mean()
    return found


def angles(
    layers: Sequence[Float[np.ndarray, "prompt dim"]],
    labels: Int[np.ndarray, " prompt"],
    members: Int[np.ndarray, " prompt"],
    emotions: Sequence[str],
    scales: Mapping[str, Float[np.ndarray, " prompt"]],
    rng: np.random.Generator,
) -> list[Angle]:
    """Return each direction between every two layers, and each scale with each emotion within a layer.

    Args:
        layers: prompt means of layers that share a basis (one hookpoint of one residual stream).
        labels: emotion of each prompt.
        members: unit of each prompt; halves keep units whole.
        emotions: class names.
        scales: valence, arousal: a value per prompt.
        rng: of the halves.
    """
    whole = np.ones(len(labels), dtype=bool)
    plain = [rows - rows.mean(axis=0) for rows in layers]
    scaled = [rows / within_deviation(rows, labels) for rows in plain]
    full, flat = (
        _directions(plain, whole, labels, emotions, scales),
        _directions(scaled, whole, labels, emotions, scales),
    )
    halves = [_half(labels, members, rng) for _ in range(N_SPLITS)]
    ones = [_directions(plain, half, labels, emotions, scales) for half in halves]
    twos = [_directions(plain, ~half, labels, emotions, scales) for half in halves]
    names = [*emotions, *scales]
    n = range(len(layers))
    wanted = [(a, b, name, name) for name in names for a in n for b in n if a <= b]
    wanted += [(a, a, scale, emotion) for scale in scales for emotion in emotions for a in n]
    found = []
    for a, b, first, second in wanted:
        i, j = names.index(first), names.index(second)
        split = np.mean(
            [(one[a, i] @ two[b, j] + two[a, i] @ one[b, j]) / 2 for one, two in zip(ones, twos, strict=True)]
        )
        cosine, standard = float(full[a, i] @ full[b, j]), float(flat[a, i] @ flat[b, j])
        found.append(Angle(a, b, first, second, cosine, float(split), standard))
    return found


def within_deviation(
    rows: Float[np.ndarray, "prompt dim"], labels: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, " dim"]:
    """Return each dimension's standard deviation within emotions; 1 where it is constant."""
    means = np.stack([rows[labels == klass].mean(axis=0) for klass in range(labels.max() + 1)])
    spread = np.sqrt(((rows - means[labels]) ** 2).mean(axis=0))
    return np.where(spread > 1e-9 * (np.abs(rows).max() + 1e-30), spread, 1.0)


def _directions(
    layers: Sequence[np.ndarray],
    chosen: np.ndarray,
    labels: np.ndarray,
    emotions: Sequence[str],
    scales: Mapping[str, np.ndarray],
) -> Float[np.ndarray, "layer direction dim"]:
    """Return unit directions from the chosen prompts."""
    own = {name: values[chosen] for name, values in scales.items()}
    weights = np.stack(list(contrasts(labels[chosen], emotions, own).values()))
    raw = np.stack([weights @ rows[chosen] for rows in layers])
    return raw / np.maximum(np.linalg.norm(raw, axis=2, keepdims=True), 1e-30)


def _half(labels: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which prompts are in one half: half of each emotion's units."""
    chosen = np.zeros(len(labels), dtype=bool)
    for klass in range(labels.max() + 1):
        units = rng.permutation(np.unique(members[labels == klass]))
        chosen |= np.isin(members, units[: len(units) // 2])
    return chosen
