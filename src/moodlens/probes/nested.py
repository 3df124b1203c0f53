"""The site and the penalty of a family's probe, chosen inside each training fold: nothing profits from it.

For every fold, the site and the penalty whose closed-form probe reads the other folds best are chosen by
cross-validation among those folds alone. The held-out fold is then predicted with them. Model and baselines
choose in the same way on the same folds, each its own: a baseline at the model's site would lose to any
family that holds the same content elsewhere, and one at the model's penalty to any family of another width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.probes import logistic
from moodlens.probes.folds import group_folds
from moodlens.probes.kernel_ridge import grid_accuracies
from moodlens.stats.design import Design, Unit


@dataclass(frozen=True)
class Choice:
    """What a fold's probe reads and how strongly it is penalised."""

    site: int  # index into the family
    ridge: float


def chosen_settings(
    grams: Float[np.ndarray, "site prompt prompt"],
    design: Design,
    unit: Unit,
    folds: Int[np.ndarray, " prompt"],
    ridges: Sequence[float],
    seed: int,
) -> tuple[Choice, ...]:
    """Return the site and the penalty of each fold: the most accurate pair in its training part.

    Of equals the first site counts, with its largest penalty.

    Args:
        grams: Gram matrices of prompt means.
        design, unit: the inner folds hold out whole units too.
        folds: fold of each prompt.
        ridges: candidate penalties.
        seed: of the inner folds.
    """
    members, names = design.members(unit), np.unique(folds)
    order = sorted(ridges, reverse=True)
    if len(grams) == len(order) == 1:
        return (Choice(0, order[0]),) * len(names)
    chosen = []
    for fold in names:
        (train,) = np.nonzero(folds != fold)
        _, groups = np.unique(members[train], return_inverse=True)
        n_inner = min(len(names), int(groups.max()) + 1)
        inner = group_folds(groups, n_inner, rng_for("inner folds", unit, int(fold), seed))
        labels = design.labels[train][None].astype(np.int8)
        own = grams[:, train[:, None], train]
        accuracy = np.stack([grid_accuracies(own, inner, labels, (ridge,))[:, 0] for ridge in order], axis=1)
        site, penalty = np.unravel_index(int(accuracy.argmax()), accuracy.shape)
        chosen.append(Choice(int(site), order[int(penalty)]))
    return tuple(chosen)


def chosen_sites(
    grams: Float[np.ndarray, "site prompt prompt"],
    design: Design,
    unit: Unit,
    folds: Int[np.ndarray, " prompt"],
    ridges: Sequence[float],
    seed: int,
) -> Int[np.ndarray, " fold"]:
    """Return the site of each fold, for probes of a fixed penalty; arguments of `chosen_settings`."""
    if len(grams) == 1:
        return np.zeros(len(np.unique(folds)), dtype=np.int64)
    return np.array([choice.site for choice in chosen_settings(grams, design, unit, folds, ridges, seed)])


def predicted_at(
    grams: Float[np.ndarray, "site prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    folds: Int[np.ndarray, " prompt"],
    chosen: Sequence[Choice],
) -> Int[np.ndarray, " prompt"]:
    """Return the class of every prompt by the logistic probe of its fold's site and penalty.

    Args:
        grams: centred Gram matrices at mean diagonal 1.
        labels: emotion of each prompt.
        folds: fold of each prompt.
        chosen: of each fold, from `chosen_settings`.
    """
    features = {choice.site: logistic.features_of(grams[choice.site]) for choice in chosen}
    predicted = np.empty(len(labels), dtype=np.int64)
    for fold, choice in zip(np.unique(folds), chosen, strict=True):
        test = folds == fold
        predicted[test] = logistic.predicted(features[choice.site], labels, test, choice.ridge)
    return predicted


def at_chosen(
    correct: Float[np.ndarray, "site prompt"],
    folds: Int[np.ndarray, " prompt"],
    chosen: Int[np.ndarray, " fold"],
) -> Float[np.ndarray, " prompt"]:
    """Return where the probe of the site that a prompt's fold chose is right.

    >>> at_chosen(np.array([[1.0, 0, 0], [0, 1, 0]]), np.array([0, 0, 1]), np.array([1, 0])).tolist()
    [0.0, 1.0, 0.0]
    """
    return correct[chosen[np.unique(folds, return_inverse=True)[1].ravel()], np.arange(len(folds))]
