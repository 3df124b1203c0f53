"""Windows, separation in each window, and the cluster permutation."""

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.base.errors import ContractError
from moodlens.stats.bootstrap import resamples
from moodlens.stats.gram import cosines, site_gram
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import relabellings
from moodlens.stats.similarity import centred_cosines
from moodlens.temporal.separation import clusters, separation, unit_grams, window_means, windows
from tests.stats.synthetic import design


def test_windows_tile_the_steps_and_leave_the_rest_over():
    places = windows(197, 3, 4)
    assert len(places.starts) == 49
    assert places.starts[-1] + places.width == 196
    assert places.times_s(50.0)[0] == pytest.approx((3 + 1.5) / 50)


def test_a_width_of_one_is_every_step():
    states = np.random.default_rng(0).normal(size=(3, 7, 5))
    assert np.array_equal(window_means(states, windows(7, 0, 1)), states)


def test_means_are_over_the_named_steps():
    states = np.random.default_rng(1).normal(size=(2, 11, 3))
    places = windows(11, 0, 3)
    found = window_means(states, places)
    for window, start in enumerate(places.starts):
        assert np.allclose(found[:, window], states[:, start : start + 3].mean(axis=1))


def test_a_clip_of_less_than_two_windows_is_refused():
    with pytest.raises(
        ContractError, match=r"must hold at least 2 windows of 4 steps; got '7 complete steps'"
    ):
        windows(7, 3, 4)


LINE = np.array([-1.0, -2.0, 1.0, 2.0]).reshape(4, 1, 1)


def test_two_emotions_on_a_line():
    labels = np.array([0, 0, 1, 1])
    found = separation("layer", LINE + 7, labels[None], np.ones((1, 4), dtype=int), 0.95)
    assert found.f[0, 0] == pytest.approx(18.0)  # 9 / 1 over 1 / 2
    assert found.share[0] == pytest.approx(0.9)
    assert found.effect[0] == pytest.approx(2.0)  # cosines 1 within, -1 between


def test_each_window_equals_the_sweep_of_that_window_alone():
    rng = np.random.default_rng(0)
    made = design(6, 6, 6)
    means = rng.normal(size=(18, 3, 5)) + 2
    table = relabellings(made.labels, 20, rng)
    counts = resamples(made, "prompt", 200, rng)
    found = separation("layer", means, table, counts, 0.9)
    for window in range(3):
        alone = site_gram("w", means[:, window], np.arange(18))
        similarity = centred_cosines(alone)
        same = made.labels[:, None] == made.labels
        alike = same & ~np.eye(18, dtype=bool)
        assert found.effect[window] == pytest.approx(similarity[alike].mean() - similarity[~same].mean())
        gram = unit_grams("w", means)[window]
        assert np.allclose(cosines(gram), similarity)
        assert np.allclose(found.f[window], pseudo_f(gram[None], table)[0])
        assert found.low[window] < found.effect[window] < found.high[window]


def test_one_state_for_all_is_one_line():
    means = np.random.default_rng(0).normal(size=(4, 3, 2)) + 1
    means[:, 1] = 3.0
    with pytest.raises(
        ContractError, match="site null/cond must differ between prompts; got 'one state for all in window 1'"
    ):
        unit_grams("null/cond", means)


def slow_clusters(f: np.ndarray, alpha: float) -> list[tuple[int, int, int, float, float]]:
    """Return the same clusters, written out cell by cell as the definition says."""
    n_layers, n_windows, n_perm = f.shape

    def found_in(perm: int) -> list[tuple[int, int, int, float]]:
        out = []
        for layer in range(n_layers):
            run: list[tuple[int, float]] = []
            for window in range(n_windows + 1):
                score, marked = 0.0, False
                if window < n_windows:
                    cell = f[layer, window]
                    score = (cell[perm] - np.mean(cell)) / np.std(cell)
                    marked = cell[perm] > np.quantile(cell, 1 - alpha) and score > 0
                if marked:
                    run.append((window, score))
                elif run:
                    out.append((layer, run[0][0], run[-1][0] + 1, sum(mass for _, mass in run)))
                    run = []
        return out

    heaviest = [max((mass for *_, mass in found_in(perm)), default=0.0) for perm in range(n_perm)]
    return [(*cluster, float(np.mean([h >= cluster[3] - 1e-9 for h in heaviest]))) for cluster in found_in(0)]


def test_clusters_equal_the_slow_reference():
    rng = np.random.default_rng(0)
    noise = rng.gamma(2.0, size=(3, 14, 60))
    f = (noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]) / 3  # neighbours resemble each other
    f[1, 3:7, 0] += 1.5
    fast = [(c.layer, c.start, c.stop, c.mass, c.p) for c in clusters(f, 0.2)]
    slow = slow_clusters(f, 0.2)
    assert len(slow) >= 2
    assert len(fast) == len(slow)
    assert np.allclose(fast, slow)


def noise_over_time(rng: np.random.Generator, n_units: int, n_windows: int, width: int) -> np.ndarray:
    """Return states of units as an AR(1) process over windows, on top of a level of their own."""
    states = np.empty((n_units, n_windows, width))
    states[:, 0] = rng.normal(size=(n_units, width))
    for window in range(1, n_windows):
        states[:, window] = 0.8 * states[:, window - 1] + 0.6 * rng.normal(size=(n_units, width))
    return states + rng.normal(size=(n_units, 1, width)) + 5.0


def p_of(layers: list[np.ndarray], labels: np.ndarray, rng: np.random.Generator) -> float:
    table = relabellings(labels, 99, rng)
    counts = np.ones((1, len(labels)), dtype=np.int64)
    f = np.stack([separation("layer", means, table, counts, 0.95).f for means in layers])
    return min((cluster.p for cluster in clusters(f, 0.05)), default=1.0)


def test_false_positives_stay_at_the_nominal_rate_with_autocorrelated_noise_in_two_layers():
    labels, n_runs = design(5, 5, 5).labels, 300
    rng = np.random.default_rng(2)
    rejected = sum(
        p_of([noise_over_time(rng, 15, 10, 4) for _ in range(2)], labels, rng) <= 0.05 for _ in range(n_runs)
    )
    assert binom.ppf(0.005, n_runs, 0.05) <= rejected <= binom.ppf(0.995, n_runs, 0.05)


def test_a_planted_window_of_time_is_found_in_its_layer():
    labels = design(8, 8, 8).labels
    rng = np.random.default_rng(3)
    layers = [noise_over_time(rng, 24, 20, 6) for _ in range(2)]
    layers[1][:, 8:14] += 2.5 * rng.normal(size=(3, 6))[labels][:, None]
    table = relabellings(labels, 199, rng)
    counts = np.ones((1, 24), dtype=np.int64)
    found = clusters(np.stack([separation("layer", means, table, counts, 0.95).f for means in layers]), 0.05)
    (cluster,) = [c for c in found if c.p < 0.05]
    assert cluster.layer == 1
    assert cluster.start <= 9
    assert cluster.stop >= 13
    assert cluster.stop - cluster.start <= 10


def test_nothing_marked_gives_no_cluster():
    f = np.ones((2, 5, 20))
    assert clusters(f, 0.05) == ()
