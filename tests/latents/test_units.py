"""Baseline units, stability, ablation, transfer, correlations, moments, evidence: by hand and planted."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.decomposition import PCA

from moodlens.latents import baselines
from moodlens.latents.baselines import reconstructions
from moodlens.latents.evidence import (
    Correlations,
    correlations,
    description,
    shown_latents,
    smoothed,
    span,
    token_shares,
    top_moments,
    word_lift,
)
from moodlens.latents.matching import Activity, Shortage
from moodlens.latents.selectivity import Selectivity, SelectivitySettings, survival, transfer
from moodlens.latents.stability import agreement, matched_cosines, most_active, random_decoder, stability
from tests.latents.test_selectivity import crossed


def test_readers_put_out_what_they_say():
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((500, 6)) * [5, 3, 2, 1, 0.5, 0.2] + 3).astype(np.float32)
    units = baselines.dimensions(rows)(rows)
    assert units.shape == (500, 12)
    assert (units >= 0).all()
    np.testing.assert_allclose(units[:, :6] - units[:, 6:], rows - rows.mean(axis=0), atol=1e-5)
    mine = baselines.components(rows)(rows)
    theirs = PCA().fit_transform(rows.astype(np.float64))[:, ::-1]
    np.testing.assert_allclose(np.abs(mine[:, :6] - mine[:, 6:]), np.abs(theirs), atol=1e-3)
    one_hot = baselines.clusters(rows, 4, seed=0)(rows)
    assert one_hot.sum(axis=1).tolist() == [1.0] * 500


def test_ica_finds_independent_sources_that_pca_mixes():
    rng = np.random.default_rng(1)
    sources = rng.laplace(size=(4000, 3))
    rows = sources @ rng.standard_normal((3, 3))
    units = baselines.independent_components(rows, 3, seed=0)(rows)
    signed = units[:, :3] - units[:, 3:]
    r = np.abs(np.corrcoef(signed.T, sources.T)[:3, 3:])
    assert r.max(axis=0).min() > 0.98


def test_a_shuffled_noisy_decoder_is_matched_and_random_ones_are_not():
    rng = np.random.default_rng(2)
    one = random_decoder(40, 32, rng)
    other = one[rng.permutation(40)] + 0.02 * rng.standard_normal((40, 32))
    assert matched_cosines(one, 3 * other).min() > 0.95
    assert (matched_cosines(one, random_decoder(40, 32, rng)) > 0.9).mean() == 0
    assert (matched_cosines(one, other[:30]) == -1).sum() == 10
    assert most_active(np.array([0.0, 5.0, 1.0, 3.0]), 3).tolist() == [1, 2, 3]
    assert most_active(np.array([0.0, 0.0, 2.0]), 3).tolist() == [2]


def test_agreement_of_seeds_counts_the_latents_that_fire():
    rng = np.random.default_rng(9)
    decoder = random_decoder(20, 16, rng)
    half = np.vstack([decoder[:10], random_decoder(10, 16, rng)])
    everywhere, some = np.ones(20), np.ones(20)
    some[:5] = 0.0  # five of the shared latents never fire in the second seed
    shares = agreement([decoder, half], [everywhere, some])["stable_90"]
    assert shares[0, 1] == pytest.approx(5 / 20)
    assert shares[1, 0] == pytest.approx(5 / 15)
    assert agreement([decoder, half], [everywhere, np.zeros(20)])["stable_70"][0, 1] == 0


def test_each_latent_has_a_partner_of_its_own():
    """Two latents near one direction: greedy best cosines would both take it."""
    one = np.array([[1.0, 0.0], [1.0, 0.1]])
    other = np.array([[1.0, 0.05], [0.0, 1.0]])
    result = matched_cosines(one, other)
    assert sorted(result > 0.9) == [False, True]


def test_stability_is_the_mean_over_seeds_of_the_latents_that_fire():
    rng = np.random.default_rng(8)
    decoder = random_decoder(20, 16, rng)
    same, changed = decoder[::-1].copy(), decoder.copy()
    changed[5] = -changed[5]
    activation = np.ones(20)
    activation[7] = 0.0
    result = stability(decoder, [same, changed], activation, rng)
    assert np.isnan(result.cosine).tolist() == [i == 7 for i in range(20)]
    unchanged = np.delete(result.cosine, [5, 7])
    np.testing.assert_allclose(unchanged, 1, atol=1e-6)
    assert result.cosine[5] < 0.9
    assert result.shares["stable_70"] == pytest.approx(37 / 38)
    assert result.shares["stable_70_random"] < 0.5
    alone = stability(decoder, [], activation, rng)
    assert np.isnan(alone.cosine).all()
    assert alone.shares == {}


def test_ablated_reconstructions_by_hand():
    latents, W_dec, b_dec = np.array([[1.0, 2.0, 4.0]]), np.eye(3), np.array([10.0, 0.0, 0.0])
    activity = Activity(np.full(3, 0.5), np.array([1.0, 1.5, 4.0]))
    result, shortage = reconstructions(latents, W_dec, b_dec, np.array([True, False, False]), activity, 2.0)
    assert shortage is None
    assert {name: rows.tolist() for name, rows in result.items()} == {
        "reconstruction": [[11, 2, 4]],
        "without_selective": [[10, 2, 4]],
        "without_others": [[11, 0, 4]],
    }
    nothing, shortage = reconstructions(latents, W_dec, b_dec, np.zeros(3, dtype=bool), activity, 2.0)
    assert list(nothing) == ["reconstruction"]
    assert shortage is None


def test_without_a_matched_control_nothing_is_ablated():
    activity = Activity(np.full(3, 0.5), np.array([1.0, 1.5, 4.0]))
    latents, two = np.array([[1.0, 2.0, 4.0]]), np.array([True, True, False])
    result, shortage = reconstructions(latents, np.eye(3), np.zeros(3), two, activity, 2.7)
    assert shortage == Shortage(2, 1, 2.7)
    assert list(result) == ["reconstruction"]


def selectivity_of(emotion: list[int], ratio: list[float], p: list[float]) -> Selectivity:
    values = np.array(p)
    return Selectivity(np.array(emotion), np.array(ratio), values, values, np.ones(len(p), dtype=bool))


def test_a_latent_survives_only_with_the_same_emotion():
    own = selectivity_of([0, 0, 1, 1], [3.0, 3.0, 3.0, 1.0], [0.01, 0.01, 0.01, 0.01])
    null = selectivity_of([0, 1, 1, 1], [3.0, 3.0, 3.0, 3.0], [0.01, 0.01, 0.5, 0.01])
    assert survival(own, null, 0.05).tolist() == [True, False, False, False]


def test_shown_latents_take_emotions_in_turn_by_p_then_strength():
    design = crossed(2, per_wording=1)
    pooled = np.ones((design.n_prompts, 5))
    pooled[:, 1] = 2.0
    result = selectivity_of([0, 0, 0, 2, 2], [3.0] * 5, [0.02, 0.02, 0.01, 0.03, 0.9])
    assert shown_latents(result, pooled, design, 0.05, 8) == [2, 3, 1, 0]
    assert shown_latents(result, pooled, design, 0.05, 2) == [2, 3]


def test_planted_units_transfer_to_held_out_wordings_and_phrase_units_do_not():
    design, rng = crossed(8), np.random.default_rng(3)
    pooled = 0.2 * rng.gamma(1.0, size=(design.n_prompts, 40))
    held_out = design.wordings % 4 == 0
    for unit in range(12):
        pooled[design.labels == unit % 4, unit] += 3
    for unit in range(12, 24):  # their emotion on the seen wordings alone
        pooled[(design.labels == unit % 4) & ~held_out, unit] += 3
    result = transfer(
        pooled, design, held_out, SelectivitySettings(999, 2, 0.05, 0), np.random.default_rng(4)
    )
    assert result.n_wordings == 8
    assert 24 <= result.n_chosen <= 26
    assert result.kept == pytest.approx(0.5, abs=0.15)
    assert result.chance is not None
    assert result.chance < 0.3


def test_transfer_without_enough_prompts_says_nothing():
    design = crossed(2, per_wording=1)
    held_out = design.wordings % 2 == 0
    settings = SelectivitySettings(99, 1, 0.05, 0)
    result = transfer(np.ones((design.n_prompts, 3)), design, held_out, settings, np.random.default_rng(0))
    assert (result.kept, result.chance, result.n_chosen) == (None, None, 0)


def test_correlations_are_pearsons_over_wordings_and_a_null_stays_null():
    rng = np.random.default_rng(5)
    wordings = np.repeat(np.arange(30), 2)
    pooled, described = rng.standard_normal((60, 20)), rng.standard_normal((60, 3))
    pooled[:, 0] = described[:, 1] + 0.1 * rng.standard_normal(60)
    described[:, 2] = 7.0  # constant: r is 0
    result = correlations(pooled, described, ("a", "b", "c"), wordings, 4999, np.random.default_rng(6))
    means = [values.reshape(30, 2, -1).mean(axis=1) for values in (pooled, described)]
    r, p = pearsonr(means[0][:, 3], means[1][:, 0])
    assert result.r[3, 0] == pytest.approx(r)
    assert result.q[0, 1] < 0.05
    assert (result.r[:, 2] == 0).all()
    sure = result.q < 0.05
    sure[0, 1] = False
    assert not sure.any()
    alone = correlations(pooled[:, 3:4], described[:, :1], ("a",), wordings, 4999, np.random.default_rng(6))
    assert alone.q[0, 0] == pytest.approx(p, abs=0.03)


def test_a_moment_is_where_the_latent_fires_in_seconds():
    values = np.zeros(200)
    values[50:70] = 2.0  # clip 0, steps 53 to 72
    values[150:160] = 5.0  # clip 1
    clips, steps = np.repeat([0, 1], 100), np.tile(np.arange(100) + 3, 2)
    first, second = top_moments(values, clips, steps, 50.0, 5)
    assert (first.clip, second.clip) == (1, 0)
    assert second.start_s == pytest.approx(53 / 50, abs=0.1)
    assert second.end_s == pytest.approx(73 / 50, abs=0.1)
    assert top_moments(np.zeros(10), np.zeros(10, dtype=int), np.arange(10), 50.0, 3) == []
    assert span(np.array([1.0])) == (0, 1)
    assert smoothed(np.array([0.0, 9.0, 0.0])).tolist() == [4.5, 3.0, 4.5]


def test_evidence_names_what_it_saw_and_nothing_else():
    assert token_shares(np.array([1.0, 3.0, 0.0]), ["▁a", "▁sad", "▁flute"]) == [("sad", 0.75), ("a", 0.25)]
    assert token_shares(np.zeros(2), ["▁a", "▁b"]) == []
    bags = [frozenset({"rain", "in"}), frozenset({"rain", "in"}), frozenset({"sun", "in"})]
    assert word_lift(np.array([2.0, 2.0, 0.0]), bags) == [("rain", 1.5)]
    assert word_lift(np.zeros(3), bags) == []
    result = Correlations(("tempo_bpm", "mode"), np.array([[0.9, -0.8]]), np.array([[0.01, 0.2]]))
    line = description("happy", "sunny 50 %", result, 0, 0.05)
    assert line == "happy; sunny 50 %; tempo_bpm r +0.90"
