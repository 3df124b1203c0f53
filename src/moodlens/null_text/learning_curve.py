"""The learning curve of whole clips: how many prompts a probe needs to name the emotion of a clip.

The readers are the mean states over a clip, and the clip's tokens, codec latent and acoustics. All are
trained on the same few prompts, of wordings that no test prompt has. No layer is chosen: the layers are
pooled. The curve is described; the comparison that may carry a claim reads single steps
(`null_text.untrained_memory`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.base.errors import Unsupported, must
from moodlens.probes.kernel_ridge import centred_blocks, class_scores
from moodlens.stats.bootstrap import interval, wording_resamples
from moodlens.stats.design import Design

MOST_TRAINED = 4
"""An interval is given where training takes at most one in this many wordings of an emotion."""


@dataclass(frozen=True)
class Draws:
    """Training sets of one size: which prompts each trains on, and which it may be tested on."""

    n_shots: int
    train: Int[np.ndarray, "draw train"]
    test: Bool[np.ndarray, "draw prompt"]  # its wording is not in training


@dataclass(frozen=True)
class Point:
    """Accuracy of one reader at one size, and by how much it exceeds the first reader's, paired."""

    reader: str
    n_shots: int
    accuracy: float
    difference: float  # first reader minus this one
    low: float | None  # None where too few draws survive a resample of wordings
    high: float | None


def draw_training_sets(design: Design, n_shots: int, n_draws: int, rng: np.random.Generator) -> Draws | None:
    """Return seeded training sets of `n_shots` prompts per emotion, each of another wording.

    None where an emotion has too few wordings to leave one for the test.
    """
    units = design.unit_labels("wording")
    if np.bincount(units).min() <= n_shots:
        return None
    train = np.empty((n_draws, design.n_classes * n_shots), dtype=np.int64)
    test = np.ones((n_draws, design.n_prompts), dtype=bool)
    for draw in range(n_draws):
        picked = []
        for klass in range(design.n_classes):
            picked += rng.choice(np.flatnonzero(units == klass), n_shots, replace=False).tolist()
        test[draw] = ~np.isin(design.wordings, picked)
        train[draw] = [rng.choice(np.flatnonzero(design.wordings == wording)) for wording in picked]
    return Draws(n_shots, train, test)


def accuracies(
    grams: Float[np.ndarray, "view prompt prompt"], draws: Draws, design: Design, penalty: float
) -> Float[np.ndarray, "draw prompt"]:
    """Return how often each prompt is read right after each draw, mean over views; NaN where not tested.

    The probe is the closed form of `probes.kernel_ridge`; training sets are balanced, as it assumes here.
    """
    out = np.empty(draws.test.shape)
    for draw, train in enumerate(draws.train):
        inner, outer = centred_blocks(grams[:, train[:, None], train], grams[:, :, train])
        scores = class_scores(inner, outer, design.labels[train], design.n_classes, penalty)
        out[draw] = (scores.argmax(axis=2) == design.labels).mean(axis=0)
    out[~draws.test] = np.nan
    return out


def learning_curve(
    readers: Sequence[tuple[str, Float[np.ndarray, "view prompt prompt"]]],
    design: Design,
    shots: Sequence[int],
    *,
    n_draws: int,
    n_bootstrap: int,
    penalty: float,
    confidence: float,
    rng: np.random.Generator,
) -> list[Point]:
    """Return the curves of all readers on the same draws; the first reader is the one that is compared.

    The interval resamples wordings: a draw counts as often as its training wordings were drawn, in product,
    and a test prompt as often as its own, so that both kinds of chance are in it. A resample leaves out
    a third of the wordings, so there is an interval only where training takes at most a quarter of them.

    Raises:
        ContractError: no size leaves a wording of every emotion for the test.
    """
    fewest = int(np.bincount(design.unit_labels("wording")).min())
    points: list[Point] = []
    for n_shots in sorted({n for n in shots if n > 0}):
        draws = draw_training_sets(design, n_shots, n_draws, rng)
        if draws is None:
            continue
        weights = wording_resamples(design, n_bootstrap, rng)
        first = None
        for name, grams in readers:
            right = accuracies(grams, draws, design, penalty)
            first = right if first is None else first
            low = high = None
            if n_shots * MOST_TRAINED <= fewest:
                bounds = interval(_resampled(first - right, draws, design, weights), confidence)
                low, high = float(bounds[0]), float(bounds[1])
            mean, gain = _balanced(right, design), _balanced(first - right, design)
            points.append(Point(name, n_shots, mean, gain, low, high))
    if not points:
        rule = f"hold a size from 1 to {fewest - 1}, which leaves a wording for the test"
        advice = "Lower null_text.shots or add prompts"
        raise Unsupported(must("null_text.shots", rule, list(shots), next_step=advice))
    return points


def _balanced(right: Float[np.ndarray, "draw prompt"], design: Design) -> float:
    """Return the mean over emotions of the mean over their tested (draw, prompt) pairs."""
    per_class = [np.nanmean(right[:, design.labels == klass]) for klass in range(design.n_classes)]
    return float(np.mean(per_class))


def _resampled(
    values: Float[np.ndarray, "draw prompt"],
    draws: Draws,
    design: Design,
    weights: Float[np.ndarray, "boot wording"],
) -> Float[np.ndarray, " boot"]:
    """Return the balanced mean of `values` under each resample of wordings."""
    trained = weights[:, design.wordings[draws.train]].prod(axis=2)  # (boot, draw)
    tested = weights[:, design.wordings]
    known = np.nan_to_num(values)
    out = np.zeros(len(weights))
    for klass in range(design.n_classes):
        mine = design.labels == klass
        top = ((trained @ known[:, mine]) * tested[:, mine]).sum(axis=1)
        bottom = ((trained @ draws.test[:, mine].astype(np.float64)) * tested[:, mine]).sum(axis=1)
        out += np.divide(top, bottom, out=np.full(len(weights), np.nan), where=bottom > 0)
    return out / design.n_classes
