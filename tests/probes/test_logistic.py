import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from moodlens.probes.logistic import features_of, out_of_fold


def test_rotated_coordinates_predict_as_the_vectors_themselves():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 12)
    rows = rng.normal(size=(36, 90)) + 0.7 * rng.normal(size=(3, 90))[labels]
    rows -= rows.mean(axis=0)
    gram = rows @ rows.T
    np.testing.assert_allclose(features_of(gram) @ features_of(gram).T, gram, atol=1e-8)
    groups = np.tile(np.arange(6), 6)
    splits = list(GroupKFold(6).split(rows, labels, groups))
    folds = np.empty(36, dtype=int)
    for number, (_, test) in enumerate(splits):
        folds[test] = number
    model = LogisticRegression(C=9 / 2 / 4.0, class_weight="balanced", max_iter=5000)
    expected = cross_val_predict(model, rows, labels, cv=splits)
    assert out_of_fold(gram, labels, folds, ridge=4.0).tolist() == expected.tolist()


def test_a_training_part_with_one_emotion_predicts_it():
    rows, labels = np.random.default_rng(1).normal(size=(4, 3)), np.array([0, 0, 1, 1])
    predicted = out_of_fold(rows @ rows.T, labels, np.array([0, 0, 1, 1]), 1.0)
    assert predicted.tolist() == [1, 1, 0, 0]
