"""Intervals by resampling whole units (prompts or wordings) within each emotion."""

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.design import Design, Unit


def resamples(
    design: Design, unit: Unit, n_bootstrap: int, rng: np.random.Generator
) -> Int[np.ndarray, "boot prompt"]:
    """Return how often each prompt occurs in each resample; units are drawn with replacement per emotion."""
    return unit_resamples(design.unit_labels(unit), n_bootstrap, rng)[:, design.members(unit)]


def wording_resamples(
    design: Design, n_bootstrap: int, rng: np.random.Generator
) -> Int[np.ndarray, "boot wording"]:
    """Return how often each wording occurs in each resample, drawn with replacement per emotion."""
    _, first = np.unique(design.members("wording"), return_index=True)
    return resamples(design, "wording", n_bootstrap, rng)[:, first]


def unit_resamples(
    labels: Int[np.ndarray, " unit"], n_bootstrap: int, rng: np.random.Generator
) -> Int[np.ndarray, "boot unit"]:
    """Return how often each unit occurs in each resample; as many units of each emotion as there are."""
    counts = np.empty((n_bootstrap, len(labels)), dtype=np.int64)
    for klass in range(int(labels.max()) + 1):
        (units,) = np.nonzero(labels == klass)
        counts[:, units] = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), n_bootstrap)
    return counts


def interval(
    draws: Float[np.ndarray, "... boot"], confidence: float
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return the percentile interval of bootstrap draws; NaN draws (an empty group) are left out."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, (tail, 1 - tail), axis=-1)
    return np.asarray(low), np.asarray(high)


def class_means(
    values: Float[np.ndarray, "... prompt"],
    labels: Int[np.ndarray, " prompt"],
    counts: Int[np.ndarray, "boot prompt"],
) -> Float[np.ndarray, "... boot"]:
    """Return the mean over emotions of the mean value of their prompts, per resample.

    With `values` = correct or not this is the balanced accuracy; with one resample of ones, the estimate.
    """
    onehot = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
    per_class = (values[..., None, :] * counts) @ onehot / (counts @ onehot)
    return per_class.mean(axis=-1)


def accuracy_at(share: float, n_classes: int) -> float:
    """Return the accuracy that lies `share` of the way from chance (0) to every prompt right (1), 3 decimals.

    >>> accuracy_at(0.667, 4), accuracy_at(0.667, 2), accuracy_at(0.667, 5)
    (0.75, 0.834, 0.734)
    """
    return round(1 / n_classes + share * (1 - 1 / n_classes), 3)


def balanced_accuracy(
    correct: Float[np.ndarray, "... prompt"], labels: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, "..."]:
    """Return the mean of the emotions' recalls: chance is 1 / n_classes whatever the group sizes.

    >>> balanced_accuracy(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1])).item()
    0.5
    """
    return np.asarray(class_means(correct, labels, np.ones((1, len(labels)), dtype=np.int64))[..., 0])
