import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import cross_val_score

from moodlens.probes.folds import group_folds
from moodlens.probes.kernel_ridge import accuracies, hats_of, predictions
from moodlens.probes.logistic import features_of
from moodlens.stats.gram import centred, prompt_grams
from moodlens.stats.permutation import p_values, relabellings
from tests.stats.synthetic import design, sites


def probe(rows, labels, folds, ridge=0.1):
    return predictions(hats_of((rows @ rows.T)[None], folds, ridge), labels[None])[0, 0]


def test_two_equal_groups_are_told_apart_as_by_scikit_learns_ridge_classifier():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 16)
    rows = rng.normal(size=(32, 10)) + 0.5 * labels[:, None] + 3
    folds = np.repeat(np.arange(4), 8)
    expected = np.empty(32, dtype=int)
    for fold in range(4):
        train = folds != fold
        spread = ((rows[train] - rows[train].mean(axis=0)) ** 2).sum() / train.sum()
        expected[~train] = (
            RidgeClassifier(alpha=0.1 * spread).fit(rows[train], labels[train]).predict(rows[~train])
        )
    assert probe(rows, labels, folds).tolist() == expected.tolist()


def test_many_unequal_groups_equal_the_same_rule_written_with_scikit_learns_ridge():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [20, 8, 12])
    rows = rng.normal(size=(40, 6)) + rng.normal(size=(3, 6))[labels]
    folds = group_folds(np.arange(40), 5, rng)
    expected = np.empty(40, dtype=int)
    for fold in range(5):
        train = folds != fold
        center = rows[train].mean(axis=0)
        inside, outside = rows[train] - center, rows[~train] - center
        targets = np.eye(3)[labels[train]] / np.bincount(labels[train])
        model = Ridge(alpha=0.1 * (inside**2).sum() / len(inside), fit_intercept=False).fit(inside, targets)
        half = 0.5 * (targets * model.predict(inside)).sum(axis=0)
        expected[~train] = (model.predict(outside) - half).argmax(axis=1)
    assert probe(rows, labels, folds).tolist() == expected.tolist()


def test_a_class_between_two_others_is_not_masked():
    labels = np.repeat([0, 1, 2], 10)
    rows = (labels + np.random.default_rng(2).normal(size=30) * 0.1)[:, None] * np.ones(3)
    folds = np.tile(np.arange(5), 6)
    assert (probe(rows, labels, folds) == labels).all()


def test_all_labellings_at_once_equal_one_by_one():
    rng = np.random.default_rng(3)
    made = design(5, 7, 6)
    grams = prompt_grams(sites(made, rng, n_layers=2))
    table = relabellings(made.labels, 30, rng)
    hats = hats_of(grams, group_folds(np.arange(18), 4, rng), 0.1)
    whole = predictions(hats, table)
    for perm in (0, 11, 30):
        assert (predictions(hats, table[perm : perm + 1])[:, 0] == whole[:, perm]).all()


def test_a_class_absent_from_training_is_never_named():
    rows, labels = np.random.default_rng(4).normal(size=(9, 3)), np.repeat([0, 1, 2], 3)
    predicted = probe(rows, labels, folds=np.repeat([0, 1, 2], 3))
    assert (predicted != labels).all()


def test_accuracy_weighs_emotions_equally():
    labels = np.array([[0, 0, 0, 1], [1, 0, 0, 0]])
    predicted = np.zeros((1, 2, 4), dtype=np.int8)
    assert accuracies(predicted, labels).tolist() == [[0.5, 0.5]]


def test_with_no_effect_p_is_uniform_and_plain_folds_are_not():
    """Clips of one prompt in training and test: a plain 5-fold probe reads the prompt, not emotion."""
    made, n_sims, alarms, plain = design(8, 8), 150, 0, []
    for seed in range(n_sims):
        rng = np.random.default_rng([seed, 1])
        (site,) = sites(made, rng, icc=0.3)
        table = relabellings(made.labels, 99, rng)
        hats = hats_of(prompt_grams([site]), group_folds(np.arange(16), 8, rng), 0.1)
        alarms += p_values(accuracies(predictions(hats, table), table))[0] <= 0.05
        if seed < 10:
            (many,) = sites(made, rng, icc=0.5, n_clips=5)
            rows, labels = features_of(centred(many.values)), made.labels[many.prompts]
            shuffled = rng.permutation(len(labels))
            plain.append(cross_val_score(RidgeClassifier(), rows[shuffled], labels[shuffled], cv=5).mean())
    assert alarms <= binom.ppf(0.999, n_sims, 0.05)
    assert np.mean(plain) > 0.7


@pytest.mark.parametrize("share", [0.15])
def test_a_planted_effect_is_read(share):
    made, rng = design(16, 16, 16, 16), np.random.default_rng(5)
    grams = prompt_grams(sites(made, rng, n_layers=2, share=share, layer=1))
    table = relabellings(made.labels, 199, rng)
    found = accuracies(predictions(hats_of(grams, group_folds(np.arange(64), 8, rng), 0.1), table), table)
    assert p_values(found)[1] == pytest.approx(1 / 200)
    assert found[1, 0] > 0.6
