"""Kernel ridge against scikit-learn, planted classes and scales, and the null."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_score

from moodlens.probes.directions import partial_r2
from moodlens.probes.folds import design_folds, group_folds
from moodlens.probes.kernel_ridge import (
    accuracies,
    centred_blocks,
    class_scores,
    grid_accuracies,
    hats_of,
    nested_predictions,
    out_of_fold_hat,
    predictions,
    r_squared,
    shuffled_targets,
)
from moodlens.probes.logistic import features_of
from moodlens.probes.site_scores import score_scale
from moodlens.stats.bootstrap import resamples
from moodlens.stats.gram import centred, prompt_grams, site_gram
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


RIDGES = (0.01, 0.1, 1.0, 10.0)


def example(seed=0, n=24, width=6):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, width))
    return rows, rows[:, :2] @ [1.0, -0.5] + rng.normal(size=n), np.arange(n) % 4


def test_a_site_that_is_constant_in_training_predicts_without_error():
    labels, folds = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
    kernels = np.zeros((1, 6, 6))
    kernels[:, 4:, 4:] = [[1, -1], [-1, 1]]  # differs in the last fold alone
    assert np.isfinite(grid_accuracies(kernels, folds, labels[None], (0.1,))).all()
    named, _ = nested_predictions(kernels, folds, (0.1,), np.eye(2)[labels])
    assert np.isfinite(named).all()


def test_one_penalty_predicts_as_scikit_learns_kernel_ridge_on_centred_data():
    rows, values, folds = example()
    predicted, means = nested_predictions((rows @ rows.T)[None], folds, (0.5,), values[:, None])
    for fold in range(4):
        train = folds != fold
        inside, outside = rows[train] - rows[train].mean(axis=0), rows[~train] - rows[train].mean(axis=0)
        model = KernelRidge(alpha=0.5 * (inside**2).sum() / len(inside)).fit(
            inside, values[train] - values[train].mean()
        )
        expected = model.predict(outside) + values[train].mean()
        np.testing.assert_allclose(predicted[~train, 0], expected, atol=1e-8)
        np.testing.assert_allclose(means[~train, 0], values[train].mean())


def test_the_penalty_is_chosen_as_by_a_grid_search_inside_the_training_folds():
    rows, values, folds = example(3, n=40)
    predicted, _ = nested_predictions((rows @ rows.T)[None], folds, RIDGES, values[:, None])
    differs = set()
    for fold in range(4):
        train = folds != fold
        search = GridSearchCV(
            CentredRidge(), {"ridge": RIDGES}, cv=LeaveOneGroupOut(), scoring="neg_mean_squared_error"
        ).fit(rows[train], values[train], groups=folds[train])
        differs.add(search.best_params_["ridge"])
        np.testing.assert_allclose(predicted[~train, 0], search.predict(rows[~train]), atol=1e-8)
    assert differs


class CentredRidge(KernelRidge):
    """The penalty as a multiple of the mean diagonal of the centred training kernel."""

    def __init__(self, ridge=1.0):
        self.ridge = ridge
        super().__init__()

    def fit(self, X, y):
        self.center_, self.level_ = X.mean(axis=0), y.mean()
        self.alpha = self.ridge * ((X - self.center_) ** 2).sum() / len(X)
        return super().fit(X - self.center_, y - self.level_)

    def predict(self, X):
        return super().predict(X - self.center_) + self.level_


def test_all_columns_at_once_equal_one_by_one():
    rows, values, folds = example(1)
    table = shuffled_targets(values, np.arange(24), 15, np.random.default_rng(0))
    kernels = np.stack([rows @ rows.T, np.exp(rows @ rows.T / 9)])
    whole, _ = nested_predictions(kernels, folds, RIDGES, table)
    for column in (0, 9):
        one, _ = nested_predictions(kernels, folds, RIDGES, table[:, [column]])
        np.testing.assert_allclose(whole[:, [column]], one, atol=1e-9)


def test_exchanged_targets_keep_units_whole_and_begin_with_the_observed_order():
    members = np.array([0, 0, 1, 1, 2])
    table = shuffled_targets(np.array([1.0, 1, 2, 2, 3]), members, 30, np.random.default_rng(0))
    assert table[:, 0].tolist() == [1, 1, 2, 2, 3]
    assert (table[0] == table[1]).all()
    assert (table[2] == table[3]).all()
    assert len(np.unique(table, axis=1).T) > 3


def test_a_scale_that_moves_the_site_is_read_and_one_that_does_not_is_not():
    made, rng = design(12, 12, 12, 12, per_wording=2), np.random.default_rng(2)
    valence = np.array([0.7, -0.6, 0.6, 0.5])[made.labels]
    rows = rng.normal(size=(48, 30)) + np.outer(valence, 4 * rng.normal(size=30))
    quiet = rng.normal(size=(48, 30))
    grams = prompt_grams([site_gram(name, x, np.arange(48)) for name, x in (("a", rows), ("b", quiet))])
    folds = design_folds(made, "wording", 8, rng)
    loud, silent = score_scale(grams, valence, made.wordings, folds, RIDGES, 199, 0)
    assert loud.r2 > 0.8
    assert loud.p == pytest.approx(1 / 200)
    assert silent.r2 < 0.2
    assert silent.p > 0.05
    assert score_scale(grams, np.ones(48), made.wordings, folds, RIDGES, 19, 0) is None


def test_without_effect_the_p_of_a_scale_is_nominal_though_the_penalty_is_chosen():
    made, n_sims, alarms = design(6, 6, 6, per_wording=2), 150, 0
    valence = np.array([1.0, -1.0, 0.2])[made.labels]
    for seed in range(n_sims):
        rng = np.random.default_rng([seed, 31])
        grams = prompt_grams(sites(made, rng, n_layers=2, width=16, n_clips=1, wording=0.6))
        folds = design_folds(made, "wording", 3, rng)
        alarms += (
            min(r.p for r in score_scale(grams, valence, made.wordings, folds, (0.1, 1.0), 59, seed)) <= 0.05
        )
    low, high = binom.ppf([0.0005, 0.9995], n_sims, 0.05)
    assert low <= alarms <= high


def layers_beside_text(seed):
    """A text code that holds emotion; layers of noise, of the text alone, of the text and more emotion."""
    made, rng = design(12, 12, 12, 12, per_wording=2), np.random.default_rng([seed, 32])
    scale = np.arange(1, 33) ** -0.5

    def rows(weight):
        own = 0.7 * rng.normal(size=(24, 32))[made.wordings] + 0.7 * rng.normal(size=(48, 32))
        return (own + weight * rng.normal(size=(4, 32))[made.labels]) * scale

    text = rows(1.0)
    copy = text @ rng.normal(size=(32, 32)) / 6 + 0.5 * rows(0)
    grams = prompt_grams(
        [site_gram(str(i), x, np.arange(48)) for i, x in enumerate((text, rows(0), copy, copy + rows(1.5)))]
    )
    folds, counts = design_folds(made, "wording", 6, rng), resamples(made, "wording", 300, rng)
    return partial_r2(grams[0], grams[1:], made.labels, folds, (0.1, 1.0), counts, 0.95)


def test_only_a_layer_that_holds_more_than_the_text_gains_beyond_it():
    n_sims = 40
    found = [layers_beside_text(seed) for seed in range(n_sims)]
    noise, copy, more = (sum(gains[i].low > 0 for gains in found) for i in range(3))
    most = binom.ppf(0.9995, n_sims, 0.05)
    assert noise <= most
    assert copy <= most
    assert more >= 0.9 * n_sims
    assert all(0.2 < gains[0].r2_base < 1 for gains in found)


def test_a_layer_that_is_the_base_itself_gains_nothing():
    made, rng = design(8, 8, per_wording=2), np.random.default_rng(4)
    (gram,) = prompt_grams(sites(made, rng, n_clips=1, share=0.3))
    folds, counts = design_folds(made, "wording", 4, rng), resamples(made, "wording", 100, rng)
    found = partial_r2(gram, gram[None], made.labels, folds, (0.1,), counts, 0.95)[0]
    assert found.partial_r2 == pytest.approx(0, abs=0.05)
    nothing = partial_r2(gram, 0 * gram[None], made.labels, folds, (0.1,), counts, 0.95)[0]
    assert (nothing.partial_r2, nothing.low, nothing.high) == (0, 0, 0)


def test_r_squared_of_the_training_means_is_zero():
    rows, values, folds = example()
    _, means = nested_predictions(centred(rows @ rows.T)[None], folds, (1.0,), values[:, None])
    assert r_squared(values[:, None], means, means).item() == 0


def test_the_hat_is_kernel_ridge_with_an_intercept():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(36, 5)) + 3, rng.normal(size=36)
    folds = np.arange(36) % 6
    predicted = out_of_fold_hat(x @ x.T, folds, 0.3) @ y
    for fold in range(6):
        train, test = folds != fold, folds == fold
        inner = x[train] - x[train].mean(axis=0)
        alpha = 0.3 * np.square(inner).sum() / train.sum()
        model = KernelRidge(alpha=alpha).fit(inner, y[train] - y[train].mean())
        expected = model.predict(x[test] - x[train].mean(axis=0)) + y[train].mean()
        np.testing.assert_allclose(predicted[test], expected)


def test_scores_of_one_labelling_choose_the_class_of_predictions():
    rng = np.random.default_rng(3)
    labels = np.tile([0, 1, 2], 10)
    rows = rng.normal(size=(30, 8)) + labels[:, None]
    grams, folds = (rows @ rows.T)[None], np.repeat(np.arange(5), 6)
    expected = predictions(hats_of(grams, folds, 0.3), labels[None])[0, 0]
    for fold in range(5):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        blocks = centred_blocks(grams[:, train[:, None], train], grams[:, test[:, None], train])
        scores = class_scores(*blocks, labels[train], 3, 0.3)
        assert scores[0].argmax(axis=1).tolist() == expected[test].tolist()
