"""Kernel ridge regression and classification from Gram matrices.

Classification is on class means, in closed form, so thousands of relabellings are a few matrix products.
Inside each training fold, with K centred on the training prompts,
score_k(x) = k(x)^T (K + lambda I)^-1 z_k / n_k - (z_k / n_k)^T K (K + lambda I)^-1 (z_k / n_k) / 2
(z_k: indicator of emotion k, n_k: its size). This is the nearest class mean in the metric of the ridged total
scatter. It is one-vs-rest ridge on one-hot targets divided by group size, with an intercept that gives
emotions equal weight whatever their sizes. Unlike plain one-vs-rest ridge it does not mask a class that lies
between two others. For two groups of equal size it predicts as `sklearn.linear_model.RidgeClassifier`. The
hat matrices depend on folds and K only, never on labels.

Nested regression (`nested_predictions`) chooses the penalty, and the kernel, inside the training folds. For
every outer fold, the candidate (kernel, penalty) with the least error over the other folds, each left out in
turn, is refitted without the outer fold. Only targets differ between relabellings, so each fit is a matrix
product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.permutation import unit_orders

BUFFER = 2**22
"""Numbers of one (layer, train, perm, klass) block: 32 MB in float64."""


def centred_blocks(
    inner: Float[np.ndarray, "kernel train train"], outer: Float[np.ndarray, "kernel test train"]
) -> tuple[Float[np.ndarray, "kernel train train"], Float[np.ndarray, "kernel test train"]]:
    """Return the kernels among training rows and between test and training rows, after centring.

    Every row has the mean of the training rows subtracted, as a linear model with an intercept would.

    >>> x, y = np.array([[1.0], [3.0]]), np.array([[4.0]])
    >>> centred_blocks((x @ x.T)[None], (y @ x.T)[None])[1].tolist()       # (4 - 2)(1 - 2), (4 - 2)(3 - 2)
    [[[-2.0, 2.0]]]
    """
    row_mean = inner.mean(axis=1)
    mean = row_mean.mean(axis=1)[:, None, None]
    inner = inner - row_mean[:, :, None] - row_mean[:, None, :] + mean
    outer = outer - outer.mean(axis=2, keepdims=True) - row_mean[:, None, :] + mean
    return inner, outer


def class_scores(
    inner: Float[np.ndarray, "kernel train train"],
    outer: Float[np.ndarray, "kernel test train"],
    labels: Int[np.ndarray, " train"],
    n_classes: int,
    ridge: float,
) -> Float[np.ndarray, "kernel test klass"]:
    """Return the scores of the closed-form probe for one labelling; the largest names the class.

    The formula is that of the module. `hats_of` and `predictions` compute the same for many labellings.

    Args:
        inner: kernels among the training rows, from `centred_blocks`.
        outer: kernels between the rows to predict and the training rows, centred likewise.
        labels: class of each training row.
        n_classes: number of classes.
        ridge: penalty, as a multiple of the mean diagonal of `inner`.
    """
    n = len(labels)
    size = np.trace(inner, axis1=1, axis2=2)[:, None, None] / n
    onehot = (labels[:, None] == np.arange(n_classes)).astype(np.float64)
    targets = onehot / np.maximum(onehot.sum(axis=0), 1)
    fitted = np.linalg.inv(inner + ridge * size * np.eye(n)) @ targets
    return outer @ fitted - 0.5 * np.einsum("tk,vtk->vk", targets, inner @ fitted)[:, None]


def out_of_fold_hat(
    gram: Float[np.ndarray, "row row"], folds: Int[np.ndarray, " row"], ridge: float
) -> Float[np.ndarray, "row row"]:
    """Return H so that H @ y predicts every row from the rows of the other folds, intercept included.

    Args:
        gram: Gram matrix of the rows.
        folds: fold of each row.
        ridge: penalty, as a multiple of the mean diagonal of the centred training kernel.
    """
    n = len(folds)
    hat = np.zeros((n, n))
    for fold in np.unique(folds):
        (test,) = np.nonzero(folds == fold)
        (train,) = np.nonzero(folds != fold)
        m = len(train)
        inner, outer = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
        # Centring by matrix products, unlike `centred_blocks`: stored results keep their last bits.
        centre = np.eye(m) - 1 / m
        row_mean = inner.mean(axis=0)
        inner = centre @ inner @ centre
        outer = (outer - row_mean) @ centre
        size = max(float(np.trace(inner)) / m, np.finfo(float).tiny)
        hat[np.ix_(test, train)] = outer @ np.linalg.inv(inner + ridge * size * np.eye(m)) @ centre + 1 / m
    return hat


@dataclass(frozen=True)
class FoldHat:
    """The label-free part of a probe in one fold; `test` and `train` are prompt indices."""

    test: Int[np.ndarray, " test"]
    train: Int[np.ndarray, " train"]
    score: Float[np.ndarray, "layer test train"]  # k(x)^T (K + lambda I)^-1 of the held-out prompts
    own: Float[np.ndarray, "layer train train"]  # K (K + lambda I)^-1


def hats_of(
    grams: Float[np.ndarray, "layer prompt prompt"], folds: Int[np.ndarray, " prompt"], ridge: float
) -> tuple[FoldHat, ...]:
    """Return the hat matrices of every layer and fold.

    Args:
        grams: Gram matrices of prompt means (centring is done inside each fold).
        folds: fold of each prompt.
        ridge: penalty, as a multiple of the mean diagonal of the centred training kernel.
    """
    hats = []
    for fold in np.unique(folds):
        (test,) = np.nonzero(folds == fold)
        (train,) = np.nonzero(folds != fold)
        inner, outer = centred_blocks(grams[:, train[:, None], train], grams[:, test[:, None], train])
        penalty = ridge * _spread(inner)
        inverse = np.linalg.inv(inner + penalty[:, None, None] * np.eye(len(train)))
        hats.append(FoldHat(test, train, outer @ inverse, inner @ inverse))
    return tuple(hats)


def _spread(kernels: Float[np.ndarray, "layer n n"]) -> Float[np.ndarray, " layer"]:
    """Return the mean diagonal of each centred kernel, above 0: a constant site is no error."""
    return np.maximum(np.trace(kernels, axis1=1, axis2=2) / kernels.shape[1], np.finfo(float).eps)


def predictions(
    hats: Sequence[FoldHat], labels: Int[np.ndarray, "perm prompt"]
) -> Int[np.ndarray, "layer perm prompt"]:
    """Return the out-of-fold class of every prompt, for every layer and labelling (int8).

    Args:
        hats: from `hats_of`.
        labels: labellings; one probe is trained and evaluated for each.
    """
    n_classes = int(labels.max()) + 1
    n_layers = hats[0].score.shape[0]
    out = np.empty((n_layers, *labels.shape), dtype=np.int8)
    for hat in hats:
        test, train = hat.test, hat.train
        step = max(1, BUFFER // (n_layers * len(train) * n_classes))
        flat_score, flat_own = hat.score.reshape(-1, len(train)), hat.own.reshape(-1, len(train))
        for start in range(0, len(labels), step):
            part = labels[start : start + step][:, train].T
            onehot = (part[:, :, None] == np.arange(n_classes, dtype=part.dtype)).astype(np.float64)
            sizes = onehot.sum(axis=0)
            targets = onehot / np.maximum(sizes, 1)
            flat = targets.reshape(len(train), -1)
            scores = (flat_score @ flat).reshape(n_layers, len(test), *sizes.shape)
            projected = (flat_own @ flat).reshape(n_layers, len(train), *sizes.shape)
            scores -= 0.5 * np.einsum("tpk,ltpk->lpk", targets, projected)[:, None]
            scores[:, :, sizes == 0] = -np.inf  # an emotion that this training fold never met
            out[:, start : start + step, test] = scores.argmax(axis=3).transpose(0, 2, 1)
    return out


def accuracies(
    predicted: Int[np.ndarray, "layer perm prompt"], labels: Int[np.ndarray, "perm prompt"]
) -> Float[np.ndarray, "layer perm"]:
    """Return the balanced accuracy of every layer under every labelling; chance is 1 / n_classes."""
    n_classes = int(labels.max()) + 1
    correct = predicted == labels
    recall = np.zeros(predicted.shape[:2])
    for klass in range(n_classes):
        mask = labels == klass
        size = mask.sum(axis=1)
        recall += np.where(size > 0, (correct & mask).sum(axis=2) / np.maximum(size, 1), 0)
    return recall / n_classes


def grid_accuracies(
    grams: Float[np.ndarray, "layer prompt prompt"],
    folds: Int[np.ndarray, " prompt"],
    table: Int[np.ndarray, "perm prompt"],
    ridges: Sequence[float],
) -> Float[np.ndarray, "layer perm"]:
    """Return the out-of-fold balanced accuracy at the best penalty, of every layer under every labelling."""
    each = [accuracies(predictions(hats_of(grams, folds, ridge), table), table) for ridge in ridges]
    return np.max(each, axis=0)


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
    members = {fold: np.nonzero(folds == fold)[0] for fold in names}
    n_candidates = len(kernels) * len(ridges)
    errors = np.zeros((len(names), n_candidates, targets.shape[1]))
    for a, b in combinations(range(len(names)), 2):
        held = np.concatenate([members[names[a]], members[names[b]]])
        split = len(members[names[a]])
        predicted = _fit(kernels, ridges, targets, held)
        wrong = (predicted - targets[held]) ** 2
        errors[a] += wrong[:, split:].sum(axis=1)  # b left out while a is the outer fold, and the reverse
        errors[b] += wrong[:, :split].sum(axis=1)
    if columns_together:
        errors[:] = errors.sum(axis=2, keepdims=True)
    chosen = errors.argmin(axis=1)
    out, means = np.empty(targets.shape), np.empty(targets.shape)
    for i, fold in enumerate(names):
        held = members[fold]
        predicted = _fit(kernels, ridges, targets, held)
        out[held] = np.take_along_axis(predicted, chosen[i][None, None, :], axis=0)[0]
        means[held] = targets[folds != fold].mean(axis=0)
    return out, means


def _fit(
    kernels: np.ndarray, ridges: Sequence[float], targets: np.ndarray, held: np.ndarray
) -> Float[np.ndarray, "candidate test column"]:
    """Predict the prompts `held` by every candidate trained on the others."""
    n = len(targets)
    train = np.setdiff1d(np.arange(n), held)
    inner, outer = centred_blocks(kernels[:, train[:, None], train], kernels[:, held[:, None], train])
    penalty = (
        _spread(inner)[:, None, None, None] * np.asarray(ridges)[None, :, None, None] * np.eye(len(train))
    )
    hats = outer[:, None] @ np.linalg.inv(inner[:, None] + penalty)
    center = targets[train].mean(axis=0)
    return hats.reshape(-1, len(held), len(train)) @ (targets[train] - center) + center


def r_squared(
    targets: Float[np.ndarray, "prompt column"],
    predicted: Float[np.ndarray, "prompt column"],
    means: Float[np.ndarray, "prompt column"],
) -> Float[np.ndarray, " column"]:
    """Return 1 - squared error / squared error of the training means; negative if the means predict better.

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
    blocks: Int[np.ndarray, " unit"] | None = None,
) -> Float[np.ndarray, "prompt perm"]:
    """Return the values with whole units permuted; column 0 is the observed order.

    Args:
        values: of each prompt; prompts of one unit share their mean.
        members: unit of each prompt.
        n_permutations: random orders.
        rng: source of randomness.
        blocks: block of each unit; values move within blocks only.
    """
    per_unit = np.bincount(members, weights=values) / np.bincount(members)
    orders = unit_orders(len(per_unit), n_permutations, rng, blocks)
    return per_unit[orders][:, members].T
