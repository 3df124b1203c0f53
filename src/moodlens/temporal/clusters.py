"""Cluster permutation over time, corrected for every window and every layer.

A cluster is a run of neighbouring windows of one layer that each stand out from their own relabellings; its
mass is the sum of their standard scores. Each relabelling gives the largest mass found anywhere, and a
cluster's p is the share of relabellings whose largest mass reaches it (Maris and Oostenveld 2007,
Nonparametric statistical testing of EEG- and MEG-data). That controls the chance of any false cluster. It
licenses "somewhere here": the edges of a cluster are no estimate of when the effect begins or ends
(Sassenhagen and Draschkow 2019).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from moodlens.stats.permutation import TIE


@dataclass(frozen=True)
class Cluster:
    """A run of windows of one layer."""

    layer: int  # index into the layers given
    start: int  # first window
    stop: int  # one past the last window
    mass: float  # sum of standard scores
    p: float  # corrected for all windows and layers


def scores_and_marks(
    f: Float[np.ndarray, "layer window perm"], alpha: float
) -> tuple[Float[np.ndarray, "layer window perm"], Bool[np.ndarray, "layer window perm"]]:
    """Return standard scores of F in each cell, and where a cell is above its own 1 - alpha quantile.

    Both treat all relabellings alike (the observed one among them), so the test stays exact.

    Args:
        f: statistic, larger is more extreme; the first relabelling is the observed one.
        alpha: forms the clusters; it moves the power, not the false positives.
    """
    spread = f.std(axis=-1, keepdims=True)
    scores = (f - f.mean(axis=-1, keepdims=True)) / np.where(spread > 0, spread, 1)
    bar = np.quantile(scores, 1 - alpha, axis=-1, keepdims=True)
    return scores, (scores > bar) & (scores > 0)


def largest_masses(
    scores: Float[np.ndarray, "layer window perm"], marks: Bool[np.ndarray, "layer window perm"]
) -> Float[np.ndarray, " perm"]:
    """Return the mass of the heaviest cluster of each relabelling, 0 where it has none."""
    running = np.zeros((scores.shape[0], scores.shape[2]))
    heaviest = np.zeros(scores.shape[2])
    for window in range(scores.shape[1]):
        running = np.where(marks[:, window], running + scores[:, window], 0.0)
        heaviest = np.maximum(heaviest, running.max(axis=0))
    return heaviest


def clusters(f: Float[np.ndarray, "layer window perm"], alpha: float) -> tuple[Cluster, ...]:
    """Return the clusters of the observed labelling, layer by layer, in the order of time.

    >>> f = np.tile(np.arange(100.0), (1, 4, 1)); f[0, 1:3, 0] = 200.0
    >>> [(c.start, c.stop, c.p) for c in clusters(f, alpha=0.05)]
    [(1, 3, 0.01)]
    """
    scores, marks = scores_and_marks(f, alpha)
    heaviest = largest_masses(scores, marks)
    found = []
    for layer in range(len(f)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], marks[layer, :, 0].astype(int), [0]])))
        for start, stop in edges.reshape(-1, 2).tolist():
            mass = float(scores[layer, start:stop, 0].sum())
            p = float((heaviest >= mass - TIE * (1 + mass)).mean())
            found.append(Cluster(layer, start, stop, mass, p))
    return tuple(found)
