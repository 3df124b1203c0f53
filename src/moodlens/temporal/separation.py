"""Separation of the emotions in windows of decoder steps, and the cluster permutation test over time.

A cluster is a run of neighbouring windows of one layer that each exceed their own relabellings. Its mass is
the sum of their standard scores. The p of a cluster is the share of relabellings whose largest mass, over all
windows and layers, reaches it (Maris and Oostenveld 2007, Nonparametric statistical testing of EEG- and
MEG-data). This controls the chance of any false cluster. It supports the claim that there is an effect
somewhere in the cluster; the edges of a cluster do not estimate when the effect begins or ends (Sassenhagen
and Draschkow 2019).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.base.errors import Unsupported, must
from moodlens.stats.bootstrap import interval
from moodlens.stats.gram import CONSTANT, cosines
from moodlens.stats.permanova import pseudo_f, sums_of_squares
from moodlens.stats.permutation import TIE
from moodlens.stats.similarity import within_between


@dataclass(frozen=True)
class Windows:
    """Neighbouring windows of complete steps, each of `width` steps; the last few steps may be unused."""

    starts: Int[np.ndarray, " window"]  # first step of each window, counted from the first complete step
    width: int  # steps
    first: int  # decoder step of the first complete step

    def times_s(self, rate_hz: float) -> Float[np.ndarray, " window"]:
        """Return the centre of each window in seconds of decoding."""
        return (self.first + self.starts + (self.width - 1) / 2) / rate_hz


def windows(n_steps: int, first: int, width: int) -> Windows:
    """Return the windows of `n_steps` complete steps.

    Args:
        n_steps: complete steps of a clip.
        first: decoder step of the first complete step, which follows the partial steps of the delay pattern.
        width: steps of a window; 1 is every step.

    Raises:
        ContractError: fewer than two windows.

    >>> windows(9, 3, 4).starts.tolist(), windows(9, 3, 4).times_s(50.0).tolist()
    ([0, 4], [0.09, 0.17])
    """
    if n_steps < 2 * width:
        rule = f"hold at least 2 windows of {width} steps"
        advice = "Lower temporal.steps_per_window or raise generate.duration_s"
        raise Unsupported(must("a clip", rule, f"{n_steps} complete steps", next_step=advice))
    return Windows(np.arange(0, n_steps - width + 1, width), width, first)


def window_means(
    states: Float[np.ndarray, "clip step d_model"], spans: Windows
) -> Float[np.ndarray, "clip window d_model"]:
    """Return the mean state of each window.

    >>> states = np.array([[[1.0], [3.0], [5.0], [7.0]]])
    >>> window_means(states, windows(4, 0, 2)).ravel().tolist()
    [2.0, 6.0]
    """
    n_clips, _, width = states.shape
    covered = states[:, : len(spans.starts) * spans.width]
    return covered.reshape(n_clips, len(spans.starts), spans.width, width).mean(axis=2)


@dataclass(frozen=True)
class Separation:
    """Separation of one layer over time; a unit is a wording (or a prompt if no two prompts share one)."""

    site: str
    effect: Float[np.ndarray, " window"]  # within - between, cosines of unit means around their mean
    low: Float[np.ndarray, " window"]
    high: Float[np.ndarray, " window"]
    share: Float[np.ndarray, " window"]  # of the variance between units, held by emotion
    f: Float[np.ndarray, "window perm"]  # pseudo-F; column 0 is the observed labelling


def unit_grams(
    site: str, means: Float[np.ndarray, "unit window d_model"]
) -> Float[np.ndarray, "window unit unit"]:
    """Return the centred Gram matrix of the units in each window, scaled to mean diagonal 1.

    Raises:
        ContractError: all units are equal in some window.
    """
    by_window = np.moveaxis(means, 1, 0).astype(np.float64)
    scale = np.square(by_window).mean(axis=(1, 2))
    moved = by_window - by_window.mean(axis=1, keepdims=True)
    grams = moved @ np.swapaxes(moved, 1, 2)
    diagonal = np.trace(grams, axis1=1, axis2=2) / means.shape[0]
    dead = np.flatnonzero(diagonal <= CONSTANT * scale * means.shape[2])
    if dead.size:
        got = f"one state for all in window {dead[0]}"
        advice = "Leave its half or site out of generate"
        raise Unsupported(must(f"site {site}", "differ between prompts", got, next_step=advice))
    return grams / diagonal[:, None, None]


def separation(
    site: str,
    means: Float[np.ndarray, "unit window d_model"],
    table: Int[np.ndarray, "perm unit"],
    counts: Int[np.ndarray, "boot unit"],
    confidence: float,
) -> Separation:
    """Return the separation of the emotions in each window.

    Args:
        site: name for errors and tables.
        means: mean state of each unit in each window.
        table: relabellings of the units, the observed one first.
        counts: bootstrap resamples, how often each unit occurs.
        confidence: of the pointwise intervals.
    """
    grams = unit_grams(site, means)
    labels = table[0]
    between, total = sums_of_squares(grams, table[:1])
    once = np.ones((1, len(labels)), dtype=np.int64)
    effect, low, high = (np.empty(len(grams)) for _ in range(3))
    for window, gram in enumerate(grams):
        similarity = cosines(gram)
        effect[window] = np.subtract(*within_between(similarity, labels, once))[0]
        draws = np.subtract(*within_between(similarity, labels, counts))
        low[window], high[window] = interval(draws, confidence)
    return Separation(site, effect, low, high, (between / total)[:, 0], pseudo_f(grams, table))


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
    """Return standard scores of F in each cell, and whether the cell exceeds its own 1 - alpha quantile.

    Both treat all relabellings alike, including the observed one, so the test stays exact.

    Args:
        f: statistic, larger is more extreme; the first relabelling is the observed one.
        alpha: threshold that forms the clusters; it affects the power, not the rate of false positives.
    """
    spread = f.std(axis=-1, keepdims=True)
    scores = (f - f.mean(axis=-1, keepdims=True)) / np.where(spread > 0, spread, 1)
    bar = np.quantile(scores, 1 - alpha, axis=-1, keepdims=True)
    return scores, (scores > bar) & (scores > 0)


def largest_masses(
    scores: Float[np.ndarray, "layer window perm"], marks: Bool[np.ndarray, "layer window perm"]
) -> Float[np.ndarray, " perm"]:
    """Return the mass of the heaviest cluster of each relabelling, 0 if it has none."""
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
    results = []
    for layer in range(len(f)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], marks[layer, :, 0].astype(int), [0]])))
        for start, stop in edges.reshape(-1, 2).tolist():
            mass = float(scores[layer, start:stop, 0].sum())
            p = float((heaviest >= mass - TIE * (1 + mass)).mean())
            results.append(Cluster(layer, start, stop, mass, p))
    return tuple(results)
