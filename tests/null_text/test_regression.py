"""Regression over wordings: against scikit-learn, planted targets, partial R2 at its nominal level."""

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.null_text.regression import partial_r2, read_targets
from moodlens.probes.kernel_ridge import out_of_fold_hat

N = 36
FOLDS = np.arange(N) % 6
LABELS = np.repeat(np.arange(4), 9)
ONEHOT = np.eye(4)[LABELS] - 0.25


def test_a_planted_target_is_read_and_noise_is_not():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 6))
    hats = {
        name: np.stack([out_of_fold_hat(rows @ rows.T, FOLDS, 0.1)])
        for name, rows in (("state", x), ("random", rng.normal(size=(N, 6))))
    }
    targets = {"planted": x[:, 0] + 0.1 * rng.normal(size=N), "noise": rng.normal(size=N)}
    orders = np.stack([np.arange(N), *(rng.permutation(N) for _ in range(199))])
    counts = rng.multinomial(N, np.full(N, 1 / N), 200)
    planted, noise = read_targets(hats, targets, counts, orders, 0.95, 6)
    y = targets["planted"]
    errors = np.square(y - hats["state"][0] @ y).sum()
    assert planted.value == pytest.approx(1 - errors / np.square(y - y.mean()).sum())
    assert planted.value > 0.8
    assert planted.p == 0.005
    assert planted.leads["random"].low > 0.5
    assert planted.leads["random"].p < 0.025
    assert noise.leads["random"].p > 0.025
    assert planted.low < planted.value < planted.high
    assert noise.p > 0.05


def partial(seed: int, *, own: float, noise: float, n_turns: int = 39):
    """States that are linear in the descriptors, plus noise, plus `own` emotion of their own."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(4, 6))[LABELS] + rng.normal(size=(N, 6))
    state = a @ rng.normal(size=(6, 40)) + noise * rng.normal(size=(N, 40))
    state += own * rng.normal(size=(4, 40))[LABELS]
    centred = state - state.mean(axis=0)
    a = (a - a.mean(axis=0)) / a.std(axis=0)
    return partial_r2(a, centred @ centred.T, ONEHOT, FOLDS, 0.1, n_turns, 0.95, rng)


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_a_state_that_only_repeats_the_descriptors_adds_nothing(noise: float):
    """The naive difference of R2 calls this significant in more than half of the runs."""
    n = 80
    found = [partial(seed, own=0, noise=noise) for seed in range(n)]
    hits = sum(p is not None and p.p <= 0.05 for p in found)
    assert binom.ppf(0.001, n, 0.05) <= hits <= binom.ppf(0.995, n, 0.05)
    assert abs(np.mean([p.value for p in found if p is not None])) < 0.05


def test_a_state_with_emotion_of_its_own_adds_it():
    found = partial(0, own=2.0, noise=0.5)
    assert found is not None
    assert found.p == 1 / 40
    assert 0 < found.low < found.value < found.high


def test_too_few_wordings_for_the_descriptors_is_not_measured():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(N, 30))
    assert partial_r2(wide, wide @ wide.T, ONEHOT, FOLDS, 0.1, 9, 0.95, rng) is None
