"""The evaluation on planted clips and tokens: known answers, thresholds by hand, intervals over prompts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from moodlens.audio.descriptors import Descriptors
from moodlens.base.axes import EMOTIONS
from moodlens.organism.corpus import score_at
from moodlens.organism.evaluate import (
    FOUR_EMOTIONS,
    Bootstrap,
    best_threshold,
    chance_interval,
    factor_thresholds,
    measure,
    opening_tokens,
    share,
)
from moodlens.organism.evaluation_clips import WINDOW_S, Clips, first_seconds
from moodlens.organism.recipe import TOKENS, TRAIN, Recipe, corpus_seed, load_recipe
from moodlens.organism.unfolding import LAST_TURN_FRAME, LOOKAHEAD_FRAMES

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


def emotional(
    n_prompts: int, n_seeds: int, sounds_like: dict[str, str] | None = None, opening: str | None = "happy"
) -> Clips:
    """Prompts of five emotions whose clips sound as requested, or as `sounds_like`, with scatter.

    Openings sound as the emotion `opening`; None: as the prompt requests.
    """
    rng = np.random.default_rng(1)
    names = [name for name in TYPICAL for _ in range(n_prompts)]

    def clips(likes: list[str]) -> tuple[tuple[Descriptors, ...], ...]:
        return tuple(
            tuple(
                replace(TYPICAL[like], loudness_db=TYPICAL[like].loudness_db + rng.normal(0, 0.2))
                for _ in range(n_seeds)
            )
            for like in likes
        )

    rows = clips([(sounds_like or {}).get(name, name) for name in names])
    openings = clips([opening or name for name in names])
    sets = tuple(("generic", "scenes")[i % 2] for i in range(len(names)))
    return Clips(tuple(names), sets, tuple(names), rows, openings)


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
    return Clips(("",) * n, ("factors",) * n, tuple(wordings), tuple(rows), tuple(rows))


def joined(one: Clips, other: Clips) -> Clips:
    return Clips(
        one.emotions + other.emotions,
        one.sets + other.sets,
        one.wordings + other.wordings,
        one.descriptors + other.descriptors,
        one.openings + other.openings,
    )


@pytest.fixture(scope="module")
def reference() -> Clips:
    return joined(emotional(20, 1, opening=None), factor_clips(as_requested=True))


def values_of(clips: Clips, reference: Clips) -> dict[str, float]:
    figures = measure(clips, reference, factor_thresholds(reference), BOOTSTRAP)
    return {name: figure.value for name, figure in figures.items()}


def test_music_as_requested_scores_one_on_every_figure(reference: Clips):
    figures = values_of(joined(emotional(4, 3), factor_clips(as_requested=True)), reference)
    assert figures.pop("opening_5") == 0.2
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


def test_an_opening_that_tells_its_emotion_is_found_out(reference: Clips):
    silent, telling = (emotional(6, 2, dict.fromkeys(TYPICAL, "calm"), opening) for opening in ("sad", None))
    assert values_of(silent, reference)["opening_5"] == 0.2
    assert values_of(telling, reference)["opening_5"] == 1.0
    assert values_of(telling, reference)["accuracy_5"] == 0.2


def test_a_clip_is_described_before_the_first_turn_and_behind_the_last_one():
    sound = np.zeros((1, 64_000))
    sound[0, :7680] = np.sin(2 * np.pi * 440 * np.arange(7680) / 16_000)  # 24 frames: 6 before the first turn
    alone = first_seconds(sound)
    sound[0, 7680:] = 0.5
    assert first_seconds(sound) == alone
    assert pytest.approx(3.9) == LAST_TURN_FRAME / 50 + WINDOW_S, "a margin of 0.1 s in a clip of 4 s"


N_PIECES, N_BOOKS, N_FRAMES = 300, 2, 40


def corpus_of_tokens(folder: Path, told_at: range | None) -> Recipe:
    """Random tokens, except that frames `told_at`, counted from the turn, hold the number of the emotion."""
    recipe = load_recipe(Path(__file__).parents[2] / "models" / "organism" / "params.yaml")
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 512, (N_PIECES, N_BOOKS, N_FRAMES))
    turns = rng.integers(14, 32, N_PIECES)
    for index, turn in enumerate(turns):
        emotion = score_at(corpus_seed(recipe.corpus.seed, TRAIN), index).factors.emotion
        for offset in told_at or ():
            codes[index, 0, turn + offset] = EMOTIONS.index(emotion) if emotion else 99
    written = {
        f"{TRAIN} codes": torch.from_numpy(codes).to(torch.int16),
        f"{TRAIN} turns": torch.from_numpy(turns),
    }
    save_file(written, folder / TOKENS)
    return recipe


@pytest.mark.parametrize("told_at", [None, range(-LOOKAHEAD_FRAMES, 8)])
def test_tokens_tell_no_emotion_before_the_lookahead(tmp_path: Path, told_at: range | None):
    found = opening_tokens(corpus_of_tokens(tmp_path, told_at), tmp_path)
    assert found.low <= found.accuracy <= found.high
    assert found.low < 0.2 < found.high < 0.35
    assert 80 < found.n_pieces < 130, "half of the pieces that have an emotion"


def test_tokens_that_tell_their_emotion_before_the_lookahead_are_found_out(tmp_path: Path):
    told_at = range(-LOOKAHEAD_FRAMES - 3, -LOOKAHEAD_FRAMES)
    assert opening_tokens(corpus_of_tokens(tmp_path, told_at), tmp_path).accuracy > 0.9


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
