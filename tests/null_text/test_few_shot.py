"""The few-shot area: disjoint wordings, one choice per fold, an independent count of right readings."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.null_text.few_shot import Task, few_shot_task, read
from moodlens.null_text.learning_curve import Draws, accuracies
from moodlens.null_text.readers import reduced
from moodlens.stats.design import Design
from tests.null_text.designs import design, gram_of, rows


def task_of(found: Design, shots: tuple[int, ...] = (1, 2, 40), n_draws: int = 24, seed: int = 0) -> Task:
    rng = np.random.default_rng(seed)
    return few_shot_task(found, 4, shots, n_draws, 0.1, rng)


def test_no_wording_of_a_fold_trains_or_chooses_in_it_and_none_is_chosen_by_what_trained():
    found = design(6)
    task = task_of(found)
    assert task.shots == (1, 2)
    assert len(task.draws) == 4
    for fold, sizes in zip(np.unique(task.folds), task.draws, strict=True):
        held = set(found.wordings[task.folds == fold])
        for n_shots, draws in zip(task.shots, sizes, strict=True):
            assert draws.train.shape == (6, 4 * n_shots)
            for train, inner in zip(draws.train, draws.inner, strict=True):
                assert np.bincount(found.labels[train]).tolist() == [n_shots] * 4
                wordings = set(found.wordings[train])
                assert len(wordings) == 4 * n_shots
                assert not wordings & (held | set(found.wordings[inner]))
                assert held | wordings | set(found.wordings[inner]) == set(range(24))


def test_the_score_is_that_of_the_learning_curve_at_the_chosen_site():
    """`learning_curve.accuracies` counts right readings by its own loop."""
    found, rng = design(6), np.random.default_rng(1)
    task = task_of(found)
    grams = np.stack([gram_of(rows(found, strength, rng)) for strength in (0, 1.5, 0)])
    scores = read("x", grams, task)
    assert scores.chosen == (1, 1, 1, 1)
    for i, n_shots in enumerate(task.shots):
        for fold, sizes in zip(np.unique(task.folds), task.draws, strict=True):
            test = np.tile(task.folds == fold, (len(sizes[i].train), 1))
            right = accuracies(grams[1:2], Draws(n_shots, sizes[i].train, test), found, 0.1)
            expected = np.nanmean(right[:, task.folds == fold], axis=0)
            np.testing.assert_allclose(scores.right[i, task.folds == fold], expected)
    np.testing.assert_allclose(scores.area, scores.right.mean(axis=0))
    assert scores.inner.min() > 0.4


def test_labels_of_the_fold_do_not_move_its_choice():
    found, rng = design(6), np.random.default_rng(2)
    task = task_of(found)
    grams = np.stack([gram_of(rows(found, 0.8, rng)) for _ in range(5)])
    before = read("x", grams, task)
    assert len(set(before.chosen)) > 1
    for fold in np.unique(task.folds):
        inside = task.folds == fold
        labels = np.where(inside, (found.labels + 1) % 4, found.labels)
        wrong = Design(found.prompt_ids, found.emotions, labels, found.wordings)
        draws = (task.draws[fold],) * 4  # the draws of other folds may miss an emotion now
        other = Task(wrong, task.folds, task.shots, draws, task.penalty)
        assert read("x", grams, other).chosen == (before.chosen[fold],) * 4


def test_a_reader_fitted_in_each_fold_is_read_with_the_matrices_of_that_fold():
    found, rng = design(6), np.random.default_rng(3)
    task = task_of(found)
    clear, noise = (np.stack([gram_of(rows(found, s, rng))]) for s in (2, 0))
    scores = read("x", [clear, noise, noise, noise], task)
    assert scores.area[task.folds == 0].mean() > 0.7
    assert scores.area[task.folds != 0].mean() < 0.45


def test_sizes_that_leave_no_wording_to_choose_by_are_an_error():
    rule = r"null_text\.shots must hold a size from 1 to \d, which leaves a wording to choose the site by"
    with pytest.raises(ContractError, match=rule):
        task_of(design(4), (8, 40))


def test_every_fold_leaves_the_wordings_that_a_size_needs_and_two_wordings_are_too_few():
    for seed in range(20):
        task = task_of(design(3), (1,), seed=seed)
        assert all(draws.inner.any(axis=1).all() for sizes in task.draws for draws in sizes)
        assert sorted(np.bincount(task.folds)) == [6, 6, 6, 6]
    with pytest.raises(ContractError, match="emotion 'happy' must have at least 3 wordings; got 2"):
        task_of(design(2), (1,))


def test_a_history_is_reduced_to_the_principal_axes_of_the_training_clips():
    rng = np.random.default_rng(4)
    rows_ = rng.normal(size=(2, 30, 12)) * np.array([9, 5, *[0.1] * 10])
    train = np.arange(30) < 20
    rows_[:, ~train, 7] += 50.0  # a direction that training clips hardly have
    for width_of_rows in (
        rows_,
        np.concatenate([rows_] * 5, axis=2),
    ):  # fewer, then more dimensions than rows
        narrow = reduced(width_of_rows, train, 2)
        assert narrow.shape == (2, 30, 2)
        fitted = width_of_rows[:, train].reshape(40, -1)
        centre = fitted.mean(axis=0)
        axes = np.linalg.svd(fitted - centre)[2][:2]
        expected = (width_of_rows - centre) @ axes.T
        made = narrow - narrow[:, train].reshape(40, 2).mean(axis=0)
        gram = np.einsum("scd,ted->scte", made, made)
        np.testing.assert_allclose(gram, np.einsum("scd,ted->scte", expected, expected), atol=1e-6)
    assert reduced(rows_, train, 12) is rows_
