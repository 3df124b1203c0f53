"""Judges of a model's own clips: the wordings that are judged were held out."""

from dataclasses import replace

import numpy as np

from moodlens.audio.descriptors import Descriptors
from moodlens.forks.own_judge import judges_of_clips
from moodlens.forks.slots import Slot

QUIET = Descriptors(100.0, 1.0, 0.5, -20.0, 6.0, 0.3, 800.0, 1500.0, 0.1, 500.0, 0.0)
WORDS = {"happy": ("glad", "merry", "sunny"), "sad": ("blue", "grey", "low")}


def clips(by_wording: bool) -> tuple[list[Descriptors], list[str], list[str]]:
    """Clips that differ by emotion, or (by_wording) whose loudness is a random value of each wording."""
    rng = np.random.default_rng(0)
    sounds, emotions, wordings = [], [], []
    for emotion, words in WORDS.items():
        for word in words:
            level = rng.normal() * 8 if by_wording else (4.0 if emotion == "happy" else -4.0)
            for _ in range(8):
                sounds.append(replace(QUIET, loudness_db=-20 + level + rng.normal()))
                emotions.append(emotion)
                wordings.append(word)
    return sounds, emotions, wordings


def slot(one: str, other: str) -> Slot:
    return Slot(f"{one}{other}", ("happy", "sad"), (one, other), one, other, one, "")


SLOTS = [slot(one, other) for one, other in zip(*WORDS.values(), strict=True)]


def test_an_emotion_is_heard_in_wordings_that_were_held_out():
    judges, gaps = judges_of_clips(SLOTS, *clips(by_wording=False), window_s=1.7)
    assert len(judges) == 3
    assert gaps["happy - sad"] > 2


def test_what_differs_by_wording_alone_gives_no_steady_gap():
    _, gaps = judges_of_clips(SLOTS, *clips(by_wording=True), window_s=1.7)
    assert gaps["happy - sad"] < 2


def test_the_clips_of_the_judged_wordings_do_not_change_their_judge():
    sounds, emotions, wordings = clips(by_wording=False)
    louder = [
        replace(sound, loudness_db=0.0) if word in ("glad", "blue") else sound
        for sound, word in zip(sounds, wordings, strict=True)
    ]
    before, _ = judges_of_clips(SLOTS, sounds, emotions, wordings, 1.7)
    after, _ = judges_of_clips(SLOTS, louder, emotions, wordings, 1.7)
    assert before[SLOTS[0].unit] == after[SLOTS[0].unit]
    assert before[SLOTS[1].unit] != after[SLOTS[1].unit]
