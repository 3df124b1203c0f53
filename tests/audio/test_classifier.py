"""The calibration classifier on planted descriptors and on clips of the synthesiser."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodlens.audio import classifier
from moodlens.audio.descriptors import Descriptors, describe
from moodlens.base.errors import ContractError
from moodlens.organism.corpus import emotion_score_at
from moodlens.organism.synth import SAMPLE_RATE_HZ, render

SILENT = describe(np.zeros(16_000, np.float32), 16_000)


def clip(rng: np.random.Generator, tempo_bpm: float, margin: float) -> Descriptors:
    return replace(
        SILENT,
        tempo_bpm=tempo_bpm * np.exp(rng.normal(0, 0.05)),
        onset_rate_hz=tempo_bpm / 60,
        mode_margin=margin + rng.normal(0, 0.05),
    )


def planted(n: int, seed: int) -> tuple[list[Descriptors], list[str]]:
    rng = np.random.default_rng(seed)
    truth = {"happy": (120, 0.2), "sad": (60, -0.2), "calm": (60, 0.2)}
    emotions = [name for name in truth for _ in range(n)]
    return [clip(rng, *truth[name]) for name in emotions], emotions


def test_planted_emotions_are_predicted() -> None:
    fitted = classifier.fit(*planted(30, seed=0))
    clips, emotions = planted(30, seed=1)
    assert np.mean(np.array(classifier.predict(fitted, clips)) == emotions) > 0.98


def test_shuffled_emotions_stay_at_chance() -> None:
    clips, emotions = planted(20, seed=0)
    held_out, truth = planted(20, seed=1)
    right = []
    for shuffle in range(40):
        fitted = classifier.fit(clips, list(np.random.default_rng(shuffle).permutation(emotions)))
        right.append(np.mean(np.array(classifier.predict(fitted, held_out)) == truth))
    # whole groups are right or wrong together: one shuffle has a standard error near 1/4, forty of them .04
    assert np.mean(right) == pytest.approx(1 / 3, abs=0.12)


def test_synthesised_emotions_are_classified() -> None:
    emotions = ["happy", "sad", "calm", "energetic", "angry"]

    def clips(seed: int, n: int) -> tuple[list[Descriptors], list[str]]:
        names = [name for name in emotions for _ in range(n)]
        waves = [render(emotion_score_at(seed, index, name)) for index, name in enumerate(names)]
        return [describe(wave, SAMPLE_RATE_HZ) for wave in waves], names

    fitted = classifier.fit(*clips(1, 12))
    held_out, truth = clips(2, 12)
    assert np.mean(np.array(classifier.predict(fitted, held_out)) == truth) >= 0.95
    is_major = classifier.is_major(held_out)
    assert np.mean(is_major == [name in ("happy", "calm", "energetic") for name in truth]) >= 0.95
    is_fast = classifier.is_fast(held_out)
    assert is_fast.tolist() == [name in ("happy", "energetic", "angry") for name in truth]


def test_mismatched_or_single_labels_are_refused() -> None:
    with pytest.raises(ContractError, match="2 clips and 1 emotions"):
        classifier.fit([SILENT, SILENT], ["sad"])
    with pytest.raises(ContractError, match="two emotions; got 'sad'"):
        classifier.fit([SILENT, SILENT], ["sad", "sad"])


def test_each_factor_check_uses_its_own_descriptor() -> None:
    clips = [
        replace(SILENT, mode_margin=0.1, onset_rate_hz=1.0),
        replace(SILENT, mode_margin=-0.1, onset_rate_hz=4.0),
    ]
    assert classifier.is_major(clips).tolist() == [True, False]
    assert classifier.is_fast(clips).tolist() == [False, True]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6), st.lists(st.integers(0, 5), min_size=1, max_size=6)
)
def test_order_is_one_minus_the_reverse_order(a: list[int], b: list[int]) -> None:
    higher, lower = np.array(a, dtype=float), np.array(b, dtype=float)
    assert classifier.order_right(higher, lower) == pytest.approx(1 - classifier.order_right(lower, higher))
