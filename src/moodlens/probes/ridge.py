"""A linear probe in closed form, so fast that thousands of relabellings are a few matrix products.

Kernel ridge regression on class means: inside each training fold, with K centred on the training prompts,
score_k(x) = k(x)^T (K + lambda I)^-1 z_k / n_k - (z_k / n_k)^T K (K + lambda I)^-1 (z_k / n_k) / 2
(z_k: indicator of emotion k, n_k: its size): the nearest class mean in the metric of the ridged total
scatter. It is one-vs-rest ridge on one-hot targets divided by group size, with the intercept that weighs
emotions equally whatever their sizes, and it does not mask a class that lies between two others. For
two groups of equal size it predicts as `sklearn.linear_model.RidgeClassifier`.
The matrices depend on folds and K only, never on labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

BUFFER = 2**22
"""Numbers of one (layer, train, perm, klass) block: 32 MB in float64."""


@dataclass(frozen=True)
class FoldHat:
    """The label-free part of a probe in one fold; `test` and `train` are prompt indices."""

    test: Int[np.ndarray, " test"]
    train: Int[np.ndarray, " train"]
    score: Float[np.ndarray, "layer test train"]  # k(x)^T (K + lambda I)^-1 of the prompts held out
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
        inner = grams[:, train[:, None], train]
        outer = grams[:, test[:, None], train]
        row_mean = inner.mean(axis=1)
        mean = row_mean.mean(axis=1)[:, None, None]
        inner = inner - row_mean[:, :, None] - row_mean[:, None, :] + mean
        outer = outer - outer.mean(axis=2, keepdims=True) - row_mean[:, None, :] + mean
        penalty = ridge * np.trace(inner, axis1=1, axis2=2) / len(train)
        inverse = np.linalg.inv(inner + penalty[:, None, None] * np.eye(len(train)))
        hats.append(FoldHat(test, train, outer @ inverse, inner @ inverse))
    return tuple(hats)


def predictions(
    hats: Sequence[FoldHat], labels: Int[np.ndarray, "perm prompt"]
) -> Int[np.ndarray, "layer perm prompt"]:
    """Return the out-of-fold class of every prompt, for every layer and labelling (int8).

    Args:
        hats: from `hats_of`.
        labels: labellings; the probe of each is trained and read out on that labelling.
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
