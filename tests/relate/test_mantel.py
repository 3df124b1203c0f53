"""Mantel against scikit-bio and scipy, each relabelling at its nominal rate, planted association found."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.spatial.distance import pdist, squareform
from skbio.stats.distance import mantel as skbio_mantel

from moodlens.base.errors import ContractError
from moodlens.relate.family import has_pairs_within, mantel
from moodlens.stats.gram import squared_distances
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import p_values, unit_orders

N = 20


def square(x: np.ndarray) -> np.ndarray:
    return squareform(pdist(x))


def test_distances_of_a_gram_matrix_are_those_of_its_rows():
    x = np.random.default_rng(0).normal(size=(3, N, 5))
    np.testing.assert_allclose(
        np.sqrt(squared_distances(x @ x.transpose(0, 2, 1))), [square(each) for each in x], atol=1e-7
    )


def test_r_equals_scikit_bio_and_p_its_permutation_scheme():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 4))
    states = np.stack([square(x + noise * rng.normal(size=x.shape)) for noise in (0.5, 3.0)])
    sound = square(x[:, :2])
    found = mantel(states, sound, unit_orders(N, 1999, rng)).r
    for layer in range(2):
        r, p, _ = skbio_mantel(states[layer], sound, permutations=1999, alternative="greater", seed=3)
        assert found[layer, 0] == pytest.approx(r, abs=1e-10)
        # two draws of one permutation distribution: within the binomial error of either
        assert abs(p_values(found)[layer] - p) < 4 * np.sqrt(2 * max(p, 1 / 2000) * (1 - p) / 1999)


def test_relabelled_r_equal_scikit_bio_on_relabelled_matrices():
    rng = np.random.default_rng(2)
    states, sound = square(rng.normal(size=(N, 3))), square(rng.normal(size=(N, 3)))
    order = unit_orders(N, 5, rng)
    found = mantel(states[None], sound, order).r[0]
    for r, each in zip(found, order, strict=True):
        expected, _, _ = skbio_mantel(states, sound[np.ix_(each, each)], permutations=0)
        assert r == pytest.approx(expected, abs=1e-10)


def test_partial_r_is_the_correlation_of_residuals():
    rng = np.random.default_rng(3)
    x, y, z = (square(rng.normal(size=(N, 3))) for _ in range(3))
    upper = np.triu_indices(N, 1)
    design = np.column_stack([np.ones(len(upper[0])), z[upper]])
    rest = [each[upper] - design @ np.linalg.lstsq(design, each[upper], rcond=None)[0] for each in (x, y)]
    found = mantel(x[None], y, unit_orders(N, 3, rng), z).partial
    assert found is not None
    assert found[0, 0] == pytest.approx(scipy_stats.pearsonr(*rest).statistic, abs=1e-12)


@pytest.mark.parametrize("kind", ["simple", "partial", "stratified"])
def test_false_positives_come_at_the_nominal_rate(kind: str):
    """5 correlated layers. stratified: emotion owns both sides; partial: the text's distances do."""
    rng = np.random.default_rng(4)
    n_sets, hits = 300, 0
    strata = np.repeat(np.arange(4), 5)
    for _ in range(n_sets):
        shared = rng.normal(size=(N, 3))
        layers = shared + rng.normal(size=(5, N, 3))
        sound = square(rng.normal(size=(N, 3)))
        states = np.stack([square(layer) for layer in layers])
        if kind == "simple":
            r = mantel(states, sound, unit_orders(N, 99, rng)).r
        elif kind == "partial":
            text = square(rng.normal(size=(N, 3)))
            weights = rng.uniform(0.3, 1, 6)[:, None, None]
            noise = np.stack([square(rng.normal(size=(N, 3))) for _ in range(6)])
            mixed = weights * text + noise
            found = mantel(mixed[:5], mixed[5], unit_orders(N, 99, rng), text)
            assert found.partial is not None
            r = found.partial
        else:
            centres = 4 * rng.normal(size=(4, 3))
            states = np.stack([square(layer + centres[strata]) for layer in layers])
            heard = square(rng.normal(size=(N, 3)) + 4 * rng.normal(size=(4, 3))[strata])
            r = mantel(states, heard, unit_orders(N, 99, rng, strata), strata=strata).r
        hits += max_t(r).min() <= 0.05
    low, high = scipy_stats.binom.interval(0.999, n_sets, 0.05)
    assert low <= hits <= high


def test_what_the_emotions_differ_in_is_a_simple_association_and_no_stratified_one():
    rng = np.random.default_rng(5)
    strata = np.repeat(np.arange(4), 5)
    centres = 4 * rng.normal(size=(4, 3))
    states = square(centres[strata] + rng.normal(size=(N, 3)))[None]
    sound = square(centres[strata] + rng.normal(size=(N, 3)))
    assert p_values(mantel(states, sound, unit_orders(N, 999, rng)).r)[0] < 0.01
    within = mantel(states, sound, unit_orders(N, 999, rng, strata), strata=strata)
    assert p_values(within.r)[0] > 0.05
    assert abs(within.r[0, 0]) < 0.5


def test_units_of_fewer_clips_are_no_association_if_only_equals_change_places():
    """Means of 1 or 4 clips on both sides, nothing shared: free relabelling is fooled, this one is not."""
    rng = np.random.default_rng(8)
    sizes = np.tile([1, 4], N // 2)
    n_sets, hits = 300, {"free": 0, "equals": 0}
    for _ in range(n_sets):
        states, sound = (
            square(rng.normal(size=(N, 6)) * 3 / np.sqrt(sizes)[:, None] + rng.normal(size=(N, 6)))
            for _ in range(2)
        )
        for name, strata in (("free", None), ("equals", sizes)):
            r = mantel(states[None], sound, unit_orders(N, 99, rng, strata)).r
            hits[name] += p_values(r)[0] <= 0.05
    low, high = scipy_stats.binom.interval(0.999, n_sets, 0.05)
    assert low <= hits["equals"] <= high
    assert hits["free"] > 0.5 * n_sets


def test_pairs_of_one_emotion_are_centred_among_equal_sizes_by_hand():
    points = np.array([[0.0], [1.0], [3.0], [10.0], [14.0], [15.0]])
    strata, sizes = np.array([0, 0, 0, 1, 1, 1]), np.array([1, 1, 1, 2, 2, 2])
    sound = square(np.array([[0.0], [2.0], [3.0], [0.0], [4.0], [7.0]]))
    found = mantel(square(points)[None], sound, np.arange(6)[None], strata=strata, sizes=sizes).r[0, 0]
    x = np.array([1, 3, 2, 4, 5, 1]) - np.repeat([2, 10 / 3], 3)
    y = np.array([2, 3, 1, 4, 7, 3]) - np.repeat([2, 14 / 3], 3)
    assert found == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_orders_keep_to_their_strata_and_start_with_the_observed():
    strata = np.array([0, 1, 0, 1, 1])
    table = unit_orders(5, 50, np.random.default_rng(6), strata)
    assert table[0].tolist() == [0, 1, 2, 3, 4]
    assert (strata[table] == strata).all()
    assert (np.sort(table, axis=1) == np.arange(5)).all()
    assert has_pairs_within(strata)
    assert not has_pairs_within(np.array([0, 0, 1, 1]))


def test_bad_input_is_refused_in_one_line():
    rng = np.random.default_rng(7)
    four = square(rng.normal(size=(4, 2)))
    with pytest.raises(ContractError, match="a Mantel test must have at least 5 wordings; got 4"):
        mantel(four[None], four, unit_orders(4, 9, rng))
    good, flat = square(rng.normal(size=(6, 2))), np.ones((6, 6)) - np.eye(6)
    with pytest.raises(ContractError, match="distances of the sound must differ"):
        mantel(good[None], flat, unit_orders(6, 9, rng))
    with pytest.raises(ContractError, match="distances of states must differ"):
        mantel(flat[None], good, unit_orders(6, 9, rng))
