"""Swap shares: states that follow the music, and states that follow the text."""

import numpy as np

from moodlens.null_text.readers import swap_shares
from moodlens.probes.folds import design_folds
from tests.null_text.designs import design

FOUND = design(6)
FOLDS = design_folds(FOUND, "wording", 4, np.random.default_rng(0))
PROMPTS = np.repeat(np.arange(FOUND.n_prompts), 2)
MUSIC = FOUND.labels[PROMPTS]
SWAPPED = (MUSIC + 1 + np.arange(len(MUSIC)) % 3) % 4
RNG = np.random.default_rng(1)
AXES = 4 * RNG.normal(size=(4, 10))
NOISE = RNG.normal(size=(3, len(MUSIC), 10))


def test_states_that_follow_the_music_are_read_as_the_music_whatever_the_text():
    shift = np.array([0.0, 50.0, 3.0])[:, None, None]  # null text moves every state alike
    own, null, swapped = AXES[MUSIC] + NOISE + shift
    found = swap_shares({"own": own, "null": null, "swapped": swapped}, PROMPTS, SWAPPED, FOUND, FOLDS, 0.1)
    assert min(found.own, found.null, found.swapped_music) > 0.95
    assert found.swapped_text < 0.05


def test_a_clip_is_read_by_probes_that_never_saw_its_wording():
    wordings = RNG.normal(size=(int(FOUND.wordings.max()) + 1, 60))[FOUND.wordings[PROMPTS]]
    states = {name: wordings + 0.1 * RNG.normal(size=wordings.shape) for name in ("own", "null", "swapped")}
    found = swap_shares(states, PROMPTS, SWAPPED, FOUND, FOLDS, 0.1)
    assert found.own < 0.5  # a wording tells its emotion to nobody who has not met it


def test_states_that_follow_the_text_are_read_as_the_text_and_as_nothing_without_one():
    own, swapped = AXES[MUSIC] + NOISE[0], AXES[SWAPPED] + NOISE[2]
    given = {"own": own, "null": NOISE[1], "swapped": swapped}
    found = swap_shares(given, PROMPTS, SWAPPED, FOUND, FOLDS, 0.1)
    assert min(found.own, found.swapped_text) > 0.95
    assert found.swapped_music < 0.05
    assert 0.1 < found.null < 0.4


def test_clips_whose_text_is_of_no_emotion_of_the_design_do_not_count():
    own = AXES[MUSIC] + NOISE[0]
    some = np.where(np.arange(len(MUSIC)) < 10, SWAPPED, -1)
    swapped = np.where(some[:, None] >= 0, AXES[SWAPPED] + NOISE[2], AXES[MUSIC])
    found = swap_shares({"own": own, "null": own, "swapped": swapped}, PROMPTS, some, FOUND, FOLDS, 0.1)
    assert found.swapped_text > 0.9
