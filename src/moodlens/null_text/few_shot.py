"""The few-shot area: how well readers name emotions from few prompts, each at a site of its own choice.

A null-text state is a function of the tokens it was fed, so with prompts enough a reader of the tokens is
never worse. What a trained state can offer is form: emotion laid out so that few prompts suffice. The area is
the accuracy averaged over the training sizes (prompts per emotion).

Every reader is read at the step and layer that it chooses inside the training folds. In a fold, training
sets of few prompts are drawn from the wordings outside it, the same for every reader. A probe trained on such
a set is tested twice: on the other wordings outside the fold, which chooses the site, and on the wordings of
the fold, which gives the score. No wording of the fold takes part in a choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.base.errors import Unsupported, must
from moodlens.probes.kernel_ridge import centred_blocks, class_scores
from moodlens.stats.bootstrap import balanced_accuracy
from moodlens.stats.design import Design

Grams = Float[np.ndarray, "site prompt prompt"]


@dataclass(frozen=True)
class FoldDraws:
    """Training sets of one size, drawn outside one fold."""

    train: Int[np.ndarray, "draw train"]  # as many prompts of every emotion, each of another wording
    inner: Bool[np.ndarray, "draw prompt"]  # outside the fold, and no wording of the training set


@dataclass(frozen=True)
class Task:
    """What every reader is asked: folds over whole wordings, and the training sets of each fold and size."""

    design: Design
    folds: Int[np.ndarray, " prompt"]
    shots: tuple[int, ...]
    draws: tuple[tuple[FoldDraws, ...], ...]  # fold -> size
    penalty: float


@dataclass(frozen=True)
class Scores:
    """How one reader reads prompts of unseen wordings, each fold at the site that it chose."""

    name: str
    right: Float[np.ndarray, "size prompt"]  # share of the training sets after which the prompt is read right
    chosen: tuple[int, ...]  # site of each fold
    inner: Float[np.ndarray, " fold"]  # area of that site inside the training folds

    @property
    def area(self) -> Float[np.ndarray, " prompt"]:
        """Return the share of right readings of each prompt, mean over the sizes."""
        return self.right.mean(axis=0)


FEWEST_WORDINGS = 3
"""Of an emotion: one to train on, one to choose the site by, one to test on."""


def few_shot_task(
    design: Design,
    n_folds: int,
    shots: Sequence[int],
    n_draws: int,
    penalty: float,
    rng: np.random.Generator,
) -> Task:
    """Return the folds and training sets that all readers share.

    Args:
        design: the prompts.
        n_folds: at most; the wordings of every emotion are dealt to the folds in turn.
        shots: sizes, prompts per emotion; those are used that leave a wording of every emotion to choose by.
        n_draws: training sets per size, over all folds.
        penalty: of the ridge, multiple of the mean diagonal.
        rng: source of folds and draws.

    Raises:
        ContractError: an emotion has too few wordings, or no size leaves one to choose by.
    """
    units = design.unit_labels("wording")
    counts = np.bincount(units)
    if counts.min() < FEWEST_WORDINGS:
        name, rule = design.emotions[int(counts.argmin())], f"have at least {FEWEST_WORDINGS} wordings"
        advice = "Raise prompts.n_per_emotion"
        raise Unsupported(must(f"emotion '{name}'", rule, int(counts.min()), next_step=advice))
    fold_of = np.empty(len(units), dtype=np.int64)
    dealt = 0
    for klass in range(design.n_classes):
        (mine,) = np.nonzero(units == klass)
        fold_of[rng.permutation(mine)] = (dealt + np.arange(len(mine))) % n_folds
        dealt += len(mine)
    outside = [np.flatnonzero(fold_of != fold) for fold in np.unique(fold_of)]
    fewest = min(int(np.bincount(units[free], minlength=design.n_classes).min()) for free in outside)
    sizes = tuple(sorted({n for n in shots if 0 < n < fewest}))
    if not sizes:
        rule = f"hold a size from 1 to {fewest - 1}, which leaves a wording to choose the site by"
        advice = "Lower null_text.shots or add prompts"
        raise Unsupported(must("null_text.shots", rule, list(shots), next_step=advice))
    per_fold = -(-n_draws // len(outside))
    draws = tuple(
        tuple(_draw(design, units, free, size, per_fold, rng) for size in sizes) for free in outside
    )
    return Task(design, fold_of[design.wordings], sizes, draws, penalty)


def _draw(
    design: Design,
    units: Int[np.ndarray, " unit"],
    free: Int[np.ndarray, " wording"],
    size: int,
    n_draws: int,
    rng: np.random.Generator,
) -> FoldDraws:
    members = [np.flatnonzero(design.wordings == wording) for wording in range(len(units))]
    train = np.empty((n_draws, design.n_classes * size), dtype=np.int64)
    inner = np.tile(np.isin(design.wordings, free), (n_draws, 1))
    for draw in range(n_draws):
        picked = [
            wording
            for klass in range(design.n_classes)
            for wording in rng.choice(free[units[free] == klass], size, replace=False)
        ]
        train[draw] = [rng.choice(members[wording]) for wording in picked]
        inner[draw] &= ~np.isin(design.wordings, picked)
    return FoldDraws(train, inner)


def read(name: str, grams: Grams | Sequence[Grams], task: Task) -> Scores:
    """Return the scores of one reader.

    Args:
        name: of the reader.
        grams: centred Gram matrices of its sites; a sequence holds those of each fold, for a reader that is
            fitted inside the training folds.
        task: from `few_shot_task`.
    """
    folds, design = np.unique(task.folds), task.design
    right = np.empty((len(task.shots), design.n_prompts))
    chosen, inner = [], np.empty(len(folds))
    for i, fold in enumerate(folds):
        (test,) = np.nonzero(task.folds == fold)
        sites = grams if isinstance(grams, np.ndarray) else grams[i]
        within, held = zip(*(_read_size(sites, draws, test, task) for draws in task.draws[i]), strict=True)
        area = np.mean(within, axis=0)
        best = int(area.argmax())
        chosen.append(best)
        inner[i] = area[best]
        right[:, test] = [of_size[best] for of_size in held]
    return Scores(name, right, tuple(chosen), inner)


def _read_size(
    grams: Grams, draws: FoldDraws, test: Int[np.ndarray, " test"], task: Task
) -> tuple[Float[np.ndarray, " site"], Float[np.ndarray, "site test"]]:
    """Return every site's accuracy on wordings outside the fold, and how often it reads the fold right."""
    labels, n_classes = task.design.labels, task.design.n_classes
    within, held = np.zeros(len(grams)), np.zeros((len(grams), len(test)))
    for train, inside in zip(draws.train, draws.inner, strict=True):
        inner, outer = centred_blocks(grams[:, train[:, None], train], grams[:, :, train])
        scores = class_scores(inner, outer, labels[train], n_classes, task.penalty)
        right = (scores.argmax(axis=2) == labels).astype(np.float64)
        within += balanced_accuracy(right[:, inside], labels[inside])
        held += right[:, test]
    return within / len(draws.train), held / len(draws.train)
