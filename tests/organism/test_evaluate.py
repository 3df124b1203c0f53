"""The evaluation on planted clips: known answers, hand-worked thresholds, intervals over prompts."""

from dataclasses import replace

import numpy as np
import pytest

from moodlens.audio.descriptors import Descriptors
from moodlens.organism.evaluate import (
    FOUR_EMOTIONS,
    Bootstrap,
    best_threshold,
    chance_interval,
    factor_thresholds,
    measure,
    share,
)
from moodlens.organism.evaluation_clips import Clips

SILENCE = Descriptors(100.0, 1.0, 0.5, -20.0, 6.0, 0.3, 800.0, 1500.0, 0.1, 500.0, 0.0)


def sounding(
    tempo_bpm: float, onsets_hz: float, centroid_hz: float, level_db: float, margin: float
) -> Descriptors:
    return replace(
        SILENCE,
        tempo_bpm=tempo_bpm,
        onset_rate_hz=onsets_hz,
        centroid_hz=centroid_hz,
        loudness_db=level_db,
        mode_margin=margin,
    )


TYPICAL = {
    "happy": sounding(125, 4.0, 1200, -20.5, 0.2),
    "sad": sounding(62, 0.9, 500, -23, -0.15),
    "calm": sounding(58, 0.7, 450, -25, 0.2),
    "energetic": sounding(160, 5.5, 2000, -17, 0.2),
    "angry": sounding(155, 5.3, 1900, -17, -0.2),
}
BOOTSTRAP = Bootstrap(seed=1, n_bootstrap=400, confidence=0.95)


def emotional(n_prompts: int, n_seeds: int, sounds_like: dict[str, str] | None = None) -> Clips:
    """Prompts of five emotions whose clips sound as requested, or as `sounds_like`, with scatter."""
    rng = np.random.default_rng(1)
    names = [name for name in TYPICAL for _ in range(n_prompts)]
    rows = []
    for name in names:
        base = TYPICAL[(sounds_like or {}).get(name, name)]
        rows.append(
            tuple(replace(base, loudness_db=base.loudness_db + rng.normal(0, 0.2)) for _ in range(n_seeds))
        )
    sets = tuple(("generic", "scenes")[i % 2] for i in range(len(names)))
    return Clips(tuple(names), sets, tuple(names), tuple(rows))


def factor_clips(as_requested: bool) -> Clips:
    wordings, rows = [], []
    for tempo, onsets in (("slow", 1.0), ("fast", 5.0)):
        for loudness, level in (("soft", -24.0), ("loud", -18.0)):
            for brightness, centroid in (("dark", 500.0), ("bright", 1800.0)):
                for mode, margin in (("minor", -0.2), ("major", 0.2)):
                    wordings.append(f"{tempo} {loudness} {brightness} {mode}")
                    clip = sounding(100, onsets, centroid, level, margin)
                    rows.append((clip,) if as_requested else (replace(clip, centroid_hz=2300 - centroid),))
    n = len(wordings)
    return Clips(("",) * n, ("factors",) * n, tuple(wordings), tuple(rows))


def joined(one: Clips, other: Clips) -> Clips:
    return Clips(
        one.emotions + other.emotions,
        one.sets + other.sets,
        one.wordings + other.wordings,
        one.descriptors + other.descriptors,
    )


@pytest.fixture(scope="module")
def reference() -> Clips:
    return joined(emotional(20, 1), factor_clips(as_requested=True))


def values_of(clips: Clips, reference: Clips) -> dict[str, float]:
    figures = measure(clips, reference, factor_thresholds(reference), BOOTSTRAP)
    return {name: figure.value for name, figure in figures.items()}


def test_music_as_requested_scores_one_on_every_figure(reference: Clips):
    figures = values_of(joined(emotional(4, 3), factor_clips(as_requested=True)), reference)
    assert set(figures.values()) == {1.0}
    expected = {"accuracy_4", "accuracy_4_scenes", "accuracy_5_angry", "mode_right", "factor_mode"}
    assert expected <= set(figures)


def test_one_confused_emotion_lowers_its_share_and_its_own_figure_only(reference: Clips):
    figures = values_of(emotional(4, 3, {"sad": "calm"}), reference)
    assert figures["accuracy_4"] == 0.75
    assert figures["accuracy_5"] == 0.8
    assert figures["accuracy_5_sad"] == 0.0
    assert figures["mode_right"] == pytest.approx(2 / 3)
    assert figures["tempo_right"] == figures["brightness_order"] == 1.0


def test_a_reversed_factor_lowers_its_own_figure_only(reference: Clips):
    figures = values_of(joined(emotional(4, 1), factor_clips(as_requested=False)), reference)
    assert figures["factor_brightness"] == 0.0
    assert {figures[f"factor_{name}"] for name in ("tempo", "loudness", "mode")} == {1.0}


def test_music_that_ignores_its_prompt_scores_chance(reference: Clips):
    music = dict.fromkeys(TYPICAL, "happy")
    assert values_of(emotional(6, 2, music), reference)["accuracy_4"] == 0.25


def test_thresholds_lie_between_the_poles(reference: Clips):
    thresholds = factor_thresholds(reference)
    assert thresholds == {"tempo": 3.0, "loudness": -21.0, "brightness": 1150.0, "mode": 0.0}


def test_best_threshold_weighs_the_poles_equally():
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 3.5])
    high = np.array([False, False, False, False, False, True])
    assert best_threshold(values, high) == 3.25


def test_intervals_come_from_prompts_and_not_from_clips():
    """Seeds that repeat each other add no certainty."""
    clips = emotional(10, 1).of(lambda emotion, _: emotion in FOUR_EMOTIONS)
    hits = (np.arange(40) % 2)[:, None].astype(float)
    once = share(clips, hits, BOOTSTRAP)
    many = share(clips, np.repeat(hits, 50, axis=1), BOOTSTRAP)
    assert (once.low, once.high) == (many.low, many.high)
    assert (once.n_prompts, once.n_clips, many.n_clips) == (40, 40, 2000)
    assert once.high - once.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(40), rel=0.15)


def test_chance_interval_holds_its_level():
    low, high = chance_interval(120, 4, 0.95)
    rng = np.random.default_rng(0)
    inside = np.mean([low <= share <= high for share in rng.binomial(120, 0.25, 4000) / 120])
    assert 0.945 < inside < 0.985, "two-sided 95 %, discrete, so a little above"
