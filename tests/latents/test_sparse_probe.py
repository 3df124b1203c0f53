"""Detectors against two other implementations; k-sparse probes on planted latents and on noise."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from moodlens.latents.detectors import detected_share, detectors, differences, one_hot
from moodlens.latents.sparse_probe import (
    chosen_units,
    dense_directions,
    parts_of_bases,
    sparse_parts,
    sparse_scores,
)
from moodlens.probes.kernel_ridge import centred_blocks, class_scores
from tests.latents.planted import decoder, latents_with, wordings_of

OWN = {klass: [klass] for klass in range(4)}


@pytest.mark.parametrize("d", [3, 40])  # fewer and more dimensions than rows: both forms of the solution
def test_detectors_are_those_of_the_kernel_probe(d: int):
    rng = np.random.default_rng(0)
    rows, labels = rng.standard_normal((24, d)), np.repeat([0, 1, 2], [12, 8, 4])
    test, ridge = rng.standard_normal((7, d)), 0.1
    found = detectors(rows, one_hot(labels, 3), ridge).scores(test)
    for klass in range(3):
        inner, outer = centred_blocks((rows @ rows.T)[None], (test @ rows.T)[None])
        score = class_scores(inner, outer, (labels == klass).astype(int), 2, ridge)[0]
        theirs = score[:, 1] - score[:, 0]
        scale = found[:, klass] / theirs
        np.testing.assert_allclose(scale, scale[0], rtol=1e-6)
        assert scale[0] > 0


def test_two_equal_groups_are_told_apart_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    rows, labels = rng.standard_normal((30, 5)), np.repeat([0, 1], 15)
    rows[labels == 1] += 0.7
    centred = rows - rows.mean(axis=0)
    penalty = 0.1 * np.square(centred).sum() / 30
    test = rng.standard_normal((200, 5))
    theirs = RidgeClassifier(alpha=penalty).fit(rows, labels).predict(test)
    mine = detectors(rows, one_hot(labels, 2), 0.1).scores(test).argmax(axis=1)
    assert (mine == theirs).all()


def test_scores_are_in_units_of_the_gap_between_the_class_means():
    rng = np.random.default_rng(2)
    rows, labels = rng.standard_normal((20, 6)), np.repeat([0, 1, 2, 3], 5)
    scores = detectors(rows, one_hot(labels, 4), 0.5).scores(rows)
    for klass in range(4):
        assert scores[labels == klass, klass].mean() == pytest.approx(0.5)
        assert scores[labels != klass, klass].mean() == pytest.approx(-0.5)


def test_rows_without_variation_score_zero():
    scores = detectors(np.ones((6, 2)), one_hot(np.repeat([0, 1], 3), 2), 0.1).scores(np.ones((2, 2)))
    assert scores.tolist() == [[0.0, 0.0]] * 2


def test_the_parts_of_wordings_sum_to_the_balanced_accuracy_of_the_detectors():
    labels = np.array([0, 0, 0, 1])
    correct = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=float)
    # detector 0: recall 2/3, others 1/1; detector 1: recall 1/1, others 2/3
    assert detected_share(correct, labels).sum() == pytest.approx((2 / 3 + 1 + 1 + 2 / 3) / 4)
    assert differences(np.array([[1.0], [2.0], [3.0], [8.0]]), labels, 2)[0, 0] == pytest.approx(-6)


def test_one_latent_suffices_where_one_was_planted_and_random_directions_need_more():
    wordings = wordings_of()
    latents, W_dec = latents_with(wordings, OWN), decoder(60, 24)
    states = latents @ W_dec
    axes = np.linalg.svd(states - states.mean(axis=0))[2].T
    ks = (1, 2, 5)
    parts = parts_of_bases({"sae": latents}, states, axes, wordings, ks, 0.1, np.random.default_rng(0))
    scores = sparse_scores(parts, wordings, ks, 999, 0.95, np.random.default_rng(1))
    one = scores["1"]
    assert one["sae"].accuracy > 0.95
    assert one["random"].accuracy < one["sae"].accuracy - 0.1
    assert one["pca"].gain == pytest.approx(one["sae"].accuracy - one["pca"].accuracy)
    assert one["random"].gain_low is not None
    assert one["random"].gain_low > 0
    assert one["random"].gain_p is not None
    assert one["random"].gain_p < 0.05
    assert one["sae"].gain is None
    assert one["sae"].low <= one["sae"].accuracy <= one["sae"].high
    assert set(one) == {"sae", "random", "pca", "dense"}


def test_an_emotion_on_five_latents_needs_all_five():
    wordings = wordings_of(2, per_class=25)
    rng = np.random.default_rng(0)
    latents = 0.01 * rng.gamma(1.0, size=(50, 50))
    for i, wording in enumerate(np.flatnonzero(wordings.labels == 0)):
        latents[wording, i // 5] += (
            3  # each of five latents fires on a fifth of the wordings, one in each fold
        )
    k1, k2, k5 = sparse_parts(latents, wordings, (1, 2, 5), 0.1).sum(axis=1)
    assert k1 == pytest.approx(0.6, abs=0.06)
    assert k1 < k2 < k5
    assert k5 > 0.95


def test_units_are_chosen_in_the_training_folds_so_noise_stays_at_chance():
    wordings = wordings_of()
    noise = [np.random.default_rng(seed).gamma(1.0, size=(40, 400)) for seed in range(12)]
    found = np.mean([sparse_parts(rows, wordings, (1, 5), 0.1).sum(axis=1) for rows in noise], axis=0)
    assert found == pytest.approx(0.5, abs=0.04)
    every = np.ones(40, dtype=bool)
    leaked = []
    for rows in noise:  # the same with labels of all wordings in the choice is far above chance
        pick = chosen_units(rows, wordings.labels, 4)(every, 0, 5)
        test = wordings.folds == 0
        score = detectors(pick[~test], one_hot(wordings.labels[~test], 4)[:, [0]], 0.1).scores(pick[test])
        leaked.append(((score[:, 0] > 0) == (wordings.labels[test] == 0)).mean())
    assert np.mean(leaked) > 0.65


def test_a_second_dense_direction_is_orthogonal_and_labels_of_held_out_wordings_are_not_used():
    wordings = wordings_of()
    states = latents_with(wordings, OWN) @ decoder(60, 24)
    train = wordings.folds != 0
    features = dense_directions(states, wordings.labels, 0.1)(train, 2, 3)
    centred = states - states[train].mean(axis=0)
    directions = np.linalg.lstsq(centred, features, rcond=None)[0]
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    changed = np.where(train, wordings.labels, (wordings.labels + 1) % 4)
    np.testing.assert_array_equal(dense_directions(states, changed, 0.1)(train, 2, 3), features)
