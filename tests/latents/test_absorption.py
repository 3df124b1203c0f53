"""Absorption and splitting on planted dictionaries."""

import numpy as np
import pytest
from scipy.stats import binomtest

from moodlens.latents.absorption import absorption, share_interval, shares_of
from tests.latents.planted import decoder, wordings_of

WORDINGS = wordings_of(4, 10, 5)
N = len(WORDINGS.labels)


def planted(strength: float = 4.0) -> np.ndarray:
    """Latent k fires on every wording of emotion k and nowhere else; 40 others fire a little everywhere."""
    latents = np.zeros((N, 60))
    latents[np.arange(N), WORDINGS.labels] = strength
    latents[:, 20:] = 0.05 * np.random.default_rng(0).gamma(1.0, size=(N, 40))
    return latents


def found(latents: np.ndarray, W_dec: np.ndarray):
    return absorption(latents, np.minimum(latents, 1.0), W_dec, WORDINGS, 0.1)


def test_one_latent_per_emotion_is_neither_absorbed_nor_split():
    result = found(planted(), decoder(60, 80))
    whole, each = shares_of(result, WORDINGS.labels, 0.95)
    assert (whole.missed, whole.absorbed, whole.n_leaders, whole.largest) == (0, 0, 1, 1)
    assert (result.leader == WORDINGS.labels).all()
    assert [one.n_wordings for one in each] == [10] * 4
    assert whole.n_wordings == N


def test_wordings_that_another_latent_takes_over_are_absorbed():
    """On two wordings of emotion 0 other latents fire, whose decoder rows hold the emotion's direction."""
    latents, W_dec = planted(), decoder(60, 80)
    for wording, latent in ((0, 10), (6, 11)):
        latents[wording, 0] = 0
        latents[wording, latent] = 4
        W_dec[latent] = W_dec[0] + 0.3 * W_dec[latent]
    result = found(latents, W_dec)
    assert np.flatnonzero(result.missed).tolist() == np.flatnonzero(result.absorbed).tolist() == [0, 6]
    whole, each = shares_of(result, WORDINGS.labels, 0.95)
    assert (each[0].absorbed, each[0].n_leaders, each[0].largest) == (0.2, 3, 0.8)
    assert [one.absorbed for one in each[1:]] == [0, 0, 0]
    assert whole.absorbed == pytest.approx(2 / 40)
    assert whole.n_leaders == pytest.approx(6 / 4)


def test_a_wording_that_no_latent_takes_over_is_missed_and_not_absorbed():
    latents, W_dec = planted(), decoder(60, 80)
    latents[0, 0] = 0
    latents[6, 0] = 0
    latents[6, 11] = 4  # fires, and points elsewhere
    W_dec[11] = W_dec[1]
    result = found(latents, W_dec)
    assert np.flatnonzero(result.missed).tolist() == [0, 6]
    assert not result.absorbed.any()


def test_half_of_the_usual_rate_still_fires():
    latents = planted()
    rates = np.minimum(latents, 1.0)
    rates[0, 0], rates[1, 0] = 0.51, 0.45
    result = absorption(latents, rates, decoder(60, 80), WORDINGS, 0.1)
    assert np.flatnonzero(result.missed).tolist() == [1]


def test_an_emotion_split_to_its_words_has_as_many_leaders():
    """Every wording of emotion 0 has a latent of its own along the same direction."""
    latents, W_dec = planted(), decoder(60, 80)
    for i, wording in enumerate(np.flatnonzero(WORDINGS.labels == 0)):
        latents[wording, 0] = 0
        latents[wording, 5 + i] = 4
        W_dec[5 + i] = W_dec[0] + 0.2 * W_dec[5 + i]
    _, each = shares_of(found(latents, W_dec), WORDINGS.labels, 0.95)
    assert each[0].n_leaders == 10
    assert each[0].largest == 0.1
    assert each[0].absorbed == 1
    assert [one.n_leaders for one in each[1:]] == [1, 1, 1]


def test_the_interval_is_clopper_pearsons():
    theirs = binomtest(3, 40).proportion_ci(0.9, "exact")
    assert share_interval(3, 40, 0.9) == pytest.approx((theirs.low, theirs.high))
    assert share_interval(0, 0, 0.95) == (0.0, 1.0)
