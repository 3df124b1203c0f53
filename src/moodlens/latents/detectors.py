"""Linear detectors of each emotion against the others, and their accuracy by wording.

Every row is the mean of one wording. A detector is ridge regression on the contrast of class means. Its
weights are w = (S + lambda I)^-1 (m_c - m_rest), with S the scatter of the training rows around their mean
and lambda a multiple of the mean squared length of those rows. Its threshold is the midpoint of the two class
means. So an emotion with few wordings is not masked, and for two groups of equal size the detector predicts
as `sklearn.linear_model.RidgeClassifier`. The formula is that of `probes.kernel_ridge.class_scores`; here the
weights themselves are needed.

Scores are in units of the gap: the class means of the training rows lie at +1/2 (the emotion) and -1/2 (the
others).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

TINY = 1e-12


@dataclass(frozen=True)
class Wordings:
    """The rows of every array by wording: their emotions, and the folds that hold them out."""

    labels: Int[np.ndarray, " wording"]
    folds: Int[np.ndarray, " wording"]
    n_classes: int
    n_folds: int  # as requested, for the correction of tests

    def parts(self) -> Iterator[tuple[Bool[np.ndarray, " wording"], Bool[np.ndarray, " wording"]]]:
        """Yield (training rows, held-out rows) of each fold whose training rows hold every emotion.

        Rows of another fold keep the value that a guess would have.
        """
        for fold in np.unique(self.folds):
            test = self.folds == fold
            if len(np.unique(self.labels[~test])) == self.n_classes:
                yield ~test, test

    @property
    def weights(self) -> Float[np.ndarray, " wording"]:
        """Return weights that give every emotion the same share; they sum to 1."""
        return 1 / np.bincount(self.labels, minlength=self.n_classes)[self.labels] / self.n_classes


@dataclass(frozen=True)
class Detectors:
    """One linear detector per column."""

    weights: Float[np.ndarray, "dim klass"]
    offset: Float[np.ndarray, " klass"]

    def scores(self, rows: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, "row klass"]:
        """Return the scores; above 0 means the emotion."""
        return rows @ self.weights - self.offset


def detectors(
    rows: Float[np.ndarray, "row dim"], is_class: Bool[np.ndarray, "row klass"], ridge: float
) -> Detectors:
    """Return the detector of every class against the other rows.

    Args:
        rows: training rows.
        is_class: which rows are of the class; every column holds both kinds.
        ridge: penalty as a multiple of the mean squared length of the centred rows.
    """
    mean = rows.mean(axis=0)
    centred = rows - mean
    contrast = is_class / is_class.sum(axis=0) - ~is_class / (~is_class).sum(axis=0)
    penalty = ridge * float(np.square(centred).sum()) / len(rows) + TINY
    if centred.shape[1] <= len(rows):
        scatter = centred.T @ centred + penalty * np.eye(centred.shape[1])
        weights = np.linalg.solve(scatter, centred.T @ contrast)
    else:
        kernel = centred @ centred.T + penalty * np.eye(len(rows))
        weights = centred.T @ np.linalg.solve(kernel, contrast)
    gap = ((centred.T @ contrast) * weights).sum(axis=0)
    weights = np.divide(weights, gap, out=np.zeros_like(weights), where=gap > TINY)
    middle = (is_class / is_class.sum(axis=0) + ~is_class / (~is_class).sum(axis=0)) / 2
    return Detectors(weights, mean @ weights + (middle * (centred @ weights)).sum(axis=0))


def one_hot(labels: Int[np.ndarray, " row"], n_classes: int) -> Bool[np.ndarray, "row klass"]:
    """Return which row is of which class."""
    return labels[:, None] == np.arange(n_classes)


def differences(
    rows: Float[np.ndarray, "row unit"], labels: Int[np.ndarray, " row"], n_classes: int
) -> Float[np.ndarray, "klass unit"]:
    """Return each unit's mean in a class minus its mean in the other rows.

    >>> differences(np.array([[3.0], [1.0], [1.0]]), np.array([0, 1, 1]), 2).tolist()
    [[2.0], [-2.0]]
    """
    is_class = one_hot(labels, n_classes).astype(np.float64)
    inside = is_class.T @ rows
    n_in = is_class.sum(axis=0)[:, None]
    return inside / n_in - (rows.sum(axis=0) - inside) / (len(rows) - n_in)


def detected_share(
    correct: Float[np.ndarray, "*kind wording klass"], labels: Int[np.ndarray, " wording"]
) -> Float[np.ndarray, "*kind wording"]:
    """Return each wording's part of the balanced accuracy, mean over detectors; the parts sum to it.

    A detector's balanced accuracy is the mean of its recall on the emotion and on the others: chance is 1/2.

    Args:
        correct: 1 where the detector of an emotion is right about a wording.
        labels: emotion of each wording.
    """
    n_classes = correct.shape[-1]
    is_class = one_hot(labels, n_classes)
    weight = np.where(is_class, 1 / is_class.sum(axis=0), 1 / (~is_class).sum(axis=0)) / (2 * n_classes)
    return (correct * weight).sum(axis=-1)


Features = Callable[[np.ndarray, int, int], np.ndarray]
"""(training rows as a mask, class, k) -> (wording, k) coordinates, chosen on the training rows alone."""


def sparse_accuracy(
    features: Features, wordings: Wordings, n_coordinates: tuple[int, ...], ridge: float
) -> Float[np.ndarray, "n wording"]:
    """Return each wording's part of the accuracy of detectors on few coordinates, out of fold.

    Args:
        features: gives the coordinates; it must look at the labels of the training rows only.
        wordings: of the rows.
        n_coordinates: the numbers k of coordinates.
        ridge: of the detectors. Coordinates are scaled to variance 1 over the training rows before.
    """
    correct = np.full((len(n_coordinates), len(wordings.labels), wordings.n_classes), 0.5)
    is_class = one_hot(wordings.labels, wordings.n_classes)
    for train, test in wordings.parts():
        for klass in range(wordings.n_classes):
            for i, k in enumerate(n_coordinates):
                rows = features(train, klass, k)
                spread = rows[train].std(axis=0)
                rows = rows / np.where(spread > TINY, spread, 1)
                score = detectors(rows[train], is_class[train][:, [klass]], ridge).scores(rows[test])[:, 0]
                right = np.where(is_class[test, klass], score, -score)
                correct[i, test, klass] = np.where(right == 0, 0.5, right > 0)
    return detected_share(correct, wordings.labels)
