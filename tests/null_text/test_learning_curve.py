"""The learning curve: disjoint wordings, the closed form against scikit-learn, intervals at their level."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import RidgeClassifier

from moodlens.base.errors import ContractError
from moodlens.null_text.learning_curve import accuracies, draw_training_sets, learning_curve
from moodlens.stats.design import design_of
from tests.null_text.designs import design, gram_of, rows


def curve(readers, found, shots, seed=0, n_draws=60, n_bootstrap=200):
    rng = np.random.default_rng(seed)
    return learning_curve(
        readers, found, shots, n_draws=n_draws, n_bootstrap=n_bootstrap, penalty=0.1, confidence=0.95, rng=rng
    )


def test_training_and_test_never_share_a_wording_and_each_size_is_balanced():
    found = design(5)
    draws = draw_training_sets(found, 3, 20, np.random.default_rng(0))
    assert draws is not None
    for train, test in zip(draws.train, draws.test, strict=True):
        assert np.bincount(found.labels[train]).tolist() == [3, 3, 3, 3]
        assert len(set(found.wordings[train])) == 12
        assert not set(found.wordings[train]) & set(found.wordings[test])
        assert set(found.wordings[train]) | set(found.wordings[test]) == set(range(20))
    assert draw_training_sets(found, 5, 20, np.random.default_rng(0)) is None


def test_for_two_emotions_the_probe_is_scikit_learns_ridge_classifier():
    names = [(e, w) for e in ("happy", "sad") for w in range(8)]
    found = design_of([f"{e}{w}" for e, w in names], [e for e, _ in names], [f"{e}{w}" for e, w in names])
    rng = np.random.default_rng(1)
    x = 0.5 * rng.normal(size=(2, 10))[found.labels] + rng.normal(size=(16, 10))
    gram = gram_of(x)
    draws = draw_training_sets(found, 4, 30, rng)
    assert draws is not None
    right = accuracies(gram[None], draws, found, 0.1)
    scale = np.square(x - x.mean(axis=0)).sum() / 16
    assert np.array_equal(np.isfinite(right), draws.test)  # nothing is scored on what trained it
    for row, train in zip(right, draws.train, strict=True):
        z = x / np.sqrt(scale)
        inner = z[train] - z[train].mean(axis=0)
        model = RidgeClassifier(alpha=0.1 * np.square(inner).sum() / len(train)).fit(
            z[train], found.labels[train]
        )
        test = np.isfinite(row)
        assert row[test].tolist() == (model.predict(z) == found.labels)[test].astype(float).tolist()


def test_a_clearer_reader_needs_fewer_prompts_and_leads_by_its_interval():
    found, rng = design(9), np.random.default_rng(2)
    clear, dim = gram_of(rows(found, 2, rng))[None], gram_of(rows(found, 0.7, rng))[None]
    points = {(p.reader, p.n_shots): p for p in curve([("a", clear), ("b", dim)], found, [1, 2, 4, 20])}
    assert {n for _, n in points} == {1, 2, 4}
    assert points["a", 1].accuracy < points["a", 4].accuracy
    assert points["a", 1].accuracy > points["b", 1].accuracy
    assert points["b", 1].difference == pytest.approx(points["a", 1].accuracy - points["b", 1].accuracy)
    assert points["b", 1].low is not None
    assert points["b", 1].low > 0
    assert points["b", 4].low is None  # 4 of 9 wordings in training: too few draws survive a resample


def test_two_readers_of_equal_worth_are_told_apart_no_more_often_than_the_level_says():
    found, hits, n = design(9), 0, 60
    for seed in range(n):
        rng = np.random.default_rng(1000 + seed)
        means = rng.normal(size=(4, 20))
        pair = [(name, gram_of(rows(found, 0.8, rng, means=means))[None]) for name in "ab"]
        point = curve(pair, found, [1], seed=seed, n_draws=40, n_bootstrap=100)[1]
        assert point.low is not None
        assert point.high is not None
        hits += point.low > 0 or point.high < 0
    assert hits <= binom.ppf(0.99, n, 0.05)


def test_no_size_that_fits_is_an_error():
    with pytest.raises(ContractError, match=r"null_text\.shots must hold a size from 1 to 2, .*got \[3, 8\]"):
        curve([("a", np.eye(24)[None])], design(3), [3, 8])
