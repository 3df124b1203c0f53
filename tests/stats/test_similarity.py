import numpy as np
import pytest
from scipy import stats as scipy_stats

from moodlens.stats.bootstrap import resamples
from moodlens.stats.gram import cosines, site_gram
from moodlens.stats.similarity import (
    centred_cosines,
    emotion_effect,
    median_ranges,
    naive_t,
    prompt_icc,
    range_of_medians,
)
from tests.stats.synthetic import design, sites


def test_within_between_ceiling_by_hand():
    similarity = np.array([[1, 0.9, 0.5, 0.1], [0.9, 1, 0.3, 0.3], [0.5, 0.3, 1, 0.2], [0.1, 0.3, 0.2, 1]])
    prompts, labels = np.array([0, 0, 1, 2]), np.array([0, 0, 1])
    one = emotion_effect(similarity, prompts, labels, np.ones((3, 3), dtype=int), 0.95)
    assert one.within == pytest.approx(0.4)  # prompts 0 and 1: mean of .5 and .3
    assert one.between == pytest.approx((0.2 + 0.2) / 2)  # 0-2: mean of .1 and .3; 1-2: .2
    assert one.ceiling == pytest.approx(0.9)
    assert one.effect == pytest.approx(0.2)
    assert one.fraction == pytest.approx(0.2 / 0.7)
    assert (one.low, one.high) == (pytest.approx(0.2), pytest.approx(0.2))


def test_without_a_second_seed_there_is_no_ceiling():
    made = design(4, 4)
    (site,) = sites(made, np.random.default_rng(0), n_clips=1)
    counts = resamples(made, "prompt", 50, np.random.default_rng(1))
    found = emotion_effect(centred_cosines(site), site.prompts, made.labels, counts, 0.95)
    assert found.ceiling is None
    assert found.fraction is None
    assert prompt_icc(site, made.labels) is None


def test_a_common_mean_hides_the_effect_from_raw_cosines_only():
    made = design(8, 8)
    (site,) = sites(made, np.random.default_rng(2), share=0.3)
    far = site_gram("far", np.linalg.cholesky(site.values + 1e-9 * np.eye(32)) + 50, site.prompts)
    counts = resamples(made, "prompt", 50, np.random.default_rng(1))
    centre = emotion_effect(centred_cosines(far), far.prompts, made.labels, counts, 0.95)
    raw = emotion_effect(cosines(far.values), far.prompts, made.labels, counts, 0.95)
    assert centre.effect > 0.2
    assert abs(raw.effect) < 0.01


def test_the_naive_test_is_the_seeds_and_cries_wolf():
    made, alarms = design(10, 10), 0
    for seed in range(40):
        (site,) = sites(made, np.random.default_rng([seed, 8]), n_clips=8, width=512)
        similarity = centred_cosines(site)
        alarms += naive_t(similarity, site.prompts, made.labels).p <= 0.05
    assert alarms >= 32  # nominal 2 of 40
    rows, columns = np.triu_indices(160, 1)
    clip_labels = made.labels[site.prompts]
    same = clip_labels[rows] == clip_labels[columns]
    values = similarity[rows, columns]
    expected = scipy_stats.ttest_ind(values[same], values[~same])
    assert naive_t(similarity, site.prompts, made.labels).t == pytest.approx(expected.statistic)


@pytest.mark.parametrize("icc", [0.0, 0.3, 0.7])
def test_icc_is_found_again(icc):
    made = design(20, 20, 20, 20)
    found = [
        prompt_icc(
            sites(made, np.random.default_rng([seed, 9]), icc=icc, n_clips=3, share=0.2)[0], made.labels
        )
        for seed in range(5)
    ]
    assert np.mean(found) == pytest.approx(icc, abs=0.03)


@pytest.mark.parametrize("sizes", [(5, 5), (4, 7, 6), (1, 2, 3, 9)])
def test_ranges_of_medians_are_those_of_numpy_under_every_labelling(sizes):
    rng = np.random.default_rng(0)
    values = rng.integers(50, 60, sum(sizes)).astype(float)  # with ties
    table = np.stack([rng.permutation(np.repeat(np.arange(len(sizes)), sizes)) for _ in range(20)])
    by_hand = [np.ptp([np.median(values[row == k]) for k in range(len(sizes))]) for row in table]
    assert median_ranges(values, table).tolist() == by_hand
    assert [range_of_medians(values, row)[0] for row in table] == by_hand
