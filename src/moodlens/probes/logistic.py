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
        ridge: the ridge probe's penalty; the logistic penalty 1 / C is the one that curves equally at the
            start, lambda (1/K)(1 - 1/K) (the Hessian of the softmax at equal odds).
    """
    features = features_of(gram)
    n_classes = len(np.unique(labels))
    strength = n_classes**2 / ((n_classes - 1) * ridge)
    predicted = np.empty(len(labels), dtype=np.int64)
    for fold in np.unique(folds):
        test = folds == fold
        if len(np.unique(labels[~test])) == 1:
            predicted[test] = labels[~test][0]
            continue
        model = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cg", max_iter=1000)
        predicted[test] = model.fit(features[~test], labels[~test]).predict(features[test])
    return predicted
