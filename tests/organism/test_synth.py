"""The synthesiser: level, onsets, pitch and brightness as written in the score."""

from dataclasses import replace

import numpy as np
import pytest

from moodlens.audio.descriptors import describe
from moodlens.base.seeding import rng_for
from moodlens.organism.composer import Affect, Hit, Note, Score, compose, compose_free
from moodlens.organism.synth import HOP_SAMPLES, N_SAMPLES, SAMPLE_RATE_HZ, render
from moodlens.prompts.factors import Factors
from moodlens.prompts.lexicon import INSTRUMENTS

PLAIN = Factors(None, None, None, 60.0, 0.1, 0.5, True, 0, "piano", True)


def test_loudest_pieces_do_not_clip_and_have_their_rms() -> None:
    for seed in range(20):
        score = compose(rng_for(seed), Affect(-0.9, 1.0))
        wave = render(score)
        assert wave.dtype == np.float32
        assert wave.shape == (N_SAMPLES,)
        assert np.abs(wave).max() < 0.9
        assert np.sqrt(np.mean(wave**2)) == pytest.approx(score.factors.rms, rel=0.08)


def test_nothing_sounds_before_the_first_onset() -> None:
    for drum in ("kick", "snare", "hat"):
        wave = render(Score(PLAIN, (Note(70, 20, 60, 0.5),), (Hit(60, drum, 0.5),)))
        assert np.all(wave[: 60 * HOP_SAMPLES] == 0)
        assert np.abs(wave[60 * HOP_SAMPLES : 62 * HOP_SAMPLES]).max() > 0.01


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_note_has_its_pitch_and_decays(instrument: str) -> None:
    wave = render(Score(replace(PLAIN, instrument=instrument), (Note(0, 190, 69, 0.5),), ()))
    spectrum = np.abs(np.fft.rfft(wave))
    peak_hz = np.argmax(spectrum) * SAMPLE_RATE_HZ / N_SAMPLES
    assert peak_hz == pytest.approx(440, abs=1)
    quarters = np.sqrt(np.mean(wave.reshape(4, -1) ** 2, axis=1))
    assert np.all(np.diff(quarters) < 0)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_brightness_raises_the_centroid(instrument: str) -> None:
    centroids = []
    for brightness in (0.1, 0.35, 0.6, 0.85):
        factors = replace(PLAIN, instrument=instrument, brightness=brightness)
        wave = render(Score(factors, (Note(0, 190, 60, 0.5),), ()))
        centroids.append(describe(wave, SAMPLE_RATE_HZ).centroid_hz)
    assert np.all(np.diff(centroids) > 0)


def test_a_note_that_outlasts_the_clip_is_cut() -> None:
    wave = render(Score(PLAIN, (Note(199, 100, 60, 0.5),), ()))
    assert np.all(wave[: 199 * HOP_SAMPLES] == 0)
    assert np.any(wave[199 * HOP_SAMPLES :] != 0)


def test_an_empty_score_is_silent() -> None:
    assert not render(Score(PLAIN, (), ())).any()


def test_rendering_repeats_itself() -> None:
    score = compose_free(rng_for(2))
    assert np.array_equal(render(score), render(score))
