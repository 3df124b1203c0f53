"""The cluster permutation: against a slow reference, at its nominal rate, and finding what was planted."""

import numpy as np
from scipy.stats import binom

from moodlens.stats.permutation import relabellings
from moodlens.temporal.separation import clusters, separation
from tests.stats.synthetic import design


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
