"""Kernel ridge regression out of fold, its penalty (and kernel) chosen inside: all relabellings at once.

For every outer fold the candidate (kernel, penalty) with the least error over the other folds, each left out
in turn, is refitted without the outer fold. Only targets differ between relabellings, so a fit is a product.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int


def nested_predictions(
    kernels: Float[np.ndarray, "kernel prompt prompt"],
    folds: Int[np.ndarray, " prompt"],
    ridges: Sequence[float],
    targets: Float[np.ndarray, "prompt column"],
    columns_together: bool = False,
) -> tuple[Float[np.ndarray, "prompt column"], Float[np.ndarray, "prompt column"]]:
    """Return the out-of-fold predictions, and those of the training means alone.

    Args:
        kernels: candidate Gram matrices of the prompts.
        folds: fold of each prompt, at least three.
        ridges: candidate penalties, multiples of the mean diagonal of the centred training kernel.
        targets: one column per target or relabelling.
        columns_together: choose one candidate for all columns (several outputs of one regression).
    """
    names = np.unique(folds)
    places = {fold: np.nonzero(folds == fold)[0] for fold in names}
    n_candidates = len(kernels) * len(ridges)
    errors = np.zeros((len(names), n_candidates, targets.shape[1]))
    for a, b in combinations(range(len(names)), 2):
        held = np.concatenate([places[names[a]], places[names[b]]])
        split = len(places[names[a]])
        predicted = _fit(kernels, ridges, targets, held)
        wrong = (predicted - targets[held]) ** 2
        errors[a] += wrong[:, split:].sum(axis=1)  # b left out while a is the outer fold, and the reverse
        errors[b] += wrong[:, :split].sum(axis=1)
    if columns_together:
        errors[:] = errors.sum(axis=2, keepdims=True)
    chosen = errors.argmin(axis=1)
    out, means = np.empty(targets.shape), np.empty(targets.shape)
    for place, fold in enumerate(names):
        held = places[fold]
        predicted = _fit(kernels, ridges, targets, held)
        out[held] = np.take_along_axis(predicted, chosen[place][None, None, :], axis=0)[0]
        means[held] = targets[folds != fold].mean(axis=0)
    return out, means


def _fit(
    kernels: np.ndarray, ridges: Sequence[float], targets: np.ndarray, held: np.ndarray
) -> Float[np.ndarray, "candidate test column"]:
    """Predict the prompts `held` by every candidate trained on the others."""
    n = len(targets)
    train = np.setdiff1d(np.arange(n), held)
    inner, outer = kernels[:, train[:, None], train], kernels[:, held[:, None], train]
    row_mean = inner.mean(axis=1)
    mean = row_mean.mean(axis=1)[:, None, None]
    inner = inner - row_mean[:, :, None] - row_mean[:, None, :] + mean
    outer = outer - outer.mean(axis=2, keepdims=True) - row_mean[:, None, :] + mean
    size = np.trace(inner, axis1=1, axis2=2)[:, None, None, None] / len(train)
    penalty = size * np.asarray(ridges)[None, :, None, None] * np.eye(len(train))
    hats = outer[:, None] @ np.linalg.inv(inner[:, None] + penalty)
    center = targets[train].mean(axis=0)
    return hats.reshape(-1, len(held), len(train)) @ (targets[train] - center) + center


def r_squared(
    targets: Float[np.ndarray, "prompt column"],
    predicted: Float[np.ndarray, "prompt column"],
    means: Float[np.ndarray, "prompt column"],
) -> Float[np.ndarray, " column"]:
    """Return 1 - squared error / squared error of the training means: below 0 where a guess does better.

    >>> y = np.array([[0.0], [2.0]])
    >>> r_squared(y, y, np.ones((2, 1))).item()
    1.0
    """
    return 1 - ((targets - predicted) ** 2).sum(axis=0) / ((targets - means) ** 2).sum(axis=0)


def shuffled_targets(
    values: Float[np.ndarray, " prompt"],
    members: Int[np.ndarray, " prompt"],
    n_permutations: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "prompt perm"]:
    """Return the values with whole units exchanged; column 0 is the observed order.

    Args:
        values: of each prompt; prompts of one unit share their mean.
        members: unit of each prompt.
        n_permutations: random orders.
        rng: source of them.
    """
    per_unit = np.bincount(members, weights=values) / np.bincount(members)
    table = np.tile(per_unit, (n_permutations + 1, 1))
    table[1:] = rng.permuted(table[1:], axis=1)
    return table[:, members].T
