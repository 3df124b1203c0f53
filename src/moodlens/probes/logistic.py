"""The reported probe: multinomial logistic regression, refitted inside each training fold."""

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression


def features_of(gram: Float[np.ndarray, "prompt prompt"]) -> Float[np.ndarray, "prompt rank"]:
    """Return coordinates with this Gram matrix: the prompts on their principal axes.

    A penalised linear probe does not see rotations, so it is the probe on all d dimensions, n wide.
    """
    values, vectors = np.linalg.eigh(gram)
    kept = values > values.max() * 1e-9
    return vectors[:, kept] * np.sqrt(values[kept])


def strength_of(ridge: float, n_classes: int) -> float:
    """Return scikit-learn's C for a ridge penalty: 1 / C curves as lambda (1/K)(1 - 1/K) does at the start
    (the Hessian of the softmax at equal odds).

    >>> strength_of(0.5, 2)
    8.0
    """
    return n_classes**2 / ((n_classes - 1) * ridge)


def out_of_fold(
    gram: Float[np.ndarray, "prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    folds: Int[np.ndarray, " prompt"],
    ridge: float,
) -> Int[np.ndarray, " prompt"]:
    """Return the class of every prompt, predicted by the model that never saw its fold.

    Args:
        gram: centred Gram matrix at mean diagonal 1, from `stats.gram.prompt_grams`.
        labels: emotion of each prompt.
        folds: fold of each prompt; an emotion that a training part lacks is never predicted there.
        ridge: the ridge probe's penalty.
    """
    features = features_of(gram)
    n_classes = len(np.unique(labels))
    strength = strength_of(ridge, n_classes)
    predicted = np.empty(len(labels), dtype=np.int64)
    for fold in np.unique(folds):
        test = folds == fold
        if len(np.unique(labels[~test])) == 1:
            predicted[test] = labels[~test][0]
            continue
        model = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cg", max_iter=1000)
        predicted[test] = model.fit(features[~test], labels[~test]).predict(features[test])
    return predicted
