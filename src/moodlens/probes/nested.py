"""The site of a family, chosen inside each training fold: neither accuracy nor comparison profits from it.

For every fold, the site whose closed-form probe reads the other folds best is chosen by cross-validation
among those folds alone. The held-out fold is then predicted by the probe of that site. Model and baselines
choose in the same way on the same folds, each its own site: a baseline at the model's site would lose to any
family that holds the same content elsewhere.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.probes.folds import group_folds
from moodlens.probes.kernel_ridge import grid_accuracies
from moodlens.stats.design import Design, Unit


def chosen_sites(
    grams: Float[np.ndarray, "site prompt prompt"],
    design: Design,
    unit: Unit,
    folds: Int[np.ndarray, " prompt"],
    ridges: Sequence[float],
    seed: int,
) -> Int[np.ndarray, " fold"]:
    """Return the site of each fold: the most accurate in its training part, the first of equals.

    Args:
        grams: Gram matrices of prompt means.
        design, unit: the inner folds hold out whole units too.
        folds: fold of each prompt.
        ridges: candidate penalties; the best one counts at every site.
        seed: of the inner folds.
    """
    members, names = design.members(unit), np.unique(folds)
    if len(grams) == 1:
        return np.zeros(len(names), dtype=np.int64)
    chosen = []
    for fold in names:
        (train,) = np.nonzero(folds != fold)
        _, groups = np.unique(members[train], return_inverse=True)
        n_inner = min(len(names), int(groups.max()) + 1)
        inner = group_folds(groups, n_inner, rng_for("inner folds", unit, int(fold), seed))
        labels = design.labels[train][None].astype(np.int8)
        accuracy = grid_accuracies(grams[:, train[:, None], train], inner, labels, ridges)
        chosen.append(int(accuracy[:, 0].argmax()))
    return np.array(chosen)


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
