"""The grammar: what each set may say, what it must not, and the words a tokenizer needs."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError
from moodlens.base.seeding import rng_for
from moodlens.prompts.factors import Factors, Poles, poles_from, poles_of
from moodlens.prompts.grammar import (
    EMOTION_PIECE_SETS,
    EMOTION_SETS,
    POLES,
    SETS,
    TEMPLATES,
    caption,
    caption_for,
    draw_nuisance,
    pieces,
    repaired_caption,
    templates_of,
    vocabulary,
    wordings,
)
from moodlens.prompts.lexicon import FACTOR_WORDS, INSTRUMENTS, KEYS
from moodlens.prompts.words import MOODS

SAD = Factors("sad", -0.6, -0.5, 66.7, 0.06, 0.25, False, 5, "flute", False)
FREE = Factors(None, None, None, 150.0, 0.13, 0.2, True, 11, "organ", True)
MOOD_WORDS = {word for words in MOODS.values() for word in words}


def test_templates_put_no_article_before_a_slot() -> None:
    for template in (template for group in TEMPLATES.values() for template in group):
        assert not re.search(r"\ban? \{", template)


@given(seed=st.integers(0, 10**6), set_name=st.sampled_from(SETS), emotion=st.sampled_from(EMOTIONS))
@settings(max_examples=200, deadline=None)
def test_every_caption_is_made_of_the_vocabulary(seed: int, set_name: str, emotion: str) -> None:
    rng = rng_for(seed)
    made = caption(rng, set_name, emotion, draw_nuisance(rng))
    assert set(pieces(made.text)) <= set(vocabulary())
    assert made.text == made.text.lower()
    assert (made.emotion == emotion) == (set_name in EMOTION_SETS)
    if set_name in EMOTION_SETS:
        assert made.wording in made.text


def test_vocabulary_is_sorted_lower_case_and_without_repeats() -> None:
    words = vocabulary()
    assert list(words) == sorted(set(words))
    assert all(word == word.lower() for word in words)
    assert {",", "happy", "abandoned", "sforzando", "minor", "120", *KEYS.values()} <= set(words)


@pytest.mark.parametrize("set_name", ["neutral", "factors"])
def test_unemotional_sets_say_no_emotion(set_name: str) -> None:
    for seed in range(200):
        rng = rng_for(seed)
        made = caption(rng, set_name, None, draw_nuisance(rng))
        assert (made.emotion, made.valence, made.arousal) == (None, None, None)
        assert not set(pieces(made.text)) & MOOD_WORDS


def test_nuisance_draws_do_not_know_the_emotion() -> None:
    nuisance = draw_nuisance(rng_for(4))
    texts = {emotion: caption(rng_for(9), "generic", emotion, nuisance) for emotion in EMOTIONS}
    stripped = {made.text.replace(made.wording, "*") for made in texts.values()}
    assert len(stripped) == 1


@given(seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_training_captions_of_a_sad_piece_are_true(seed: int) -> None:
    made = caption_for(rng_for(seed), SAD)
    words = set(pieces(made.text))
    assert made.emotion == "sad"
    assert made.set in EMOTION_PIECE_SETS
    assert "major" not in words
    assert not words & (set(INSTRUMENTS) - {"flute"})
    assert not words & (set(KEYS.values()) - {"f"})
    assert not words & (MOOD_WORDS - set(MOODS["sad"]))


def test_factor_pieces_get_their_factors_in_words() -> None:
    for seed in range(60):
        made = caption_for(rng_for(seed), FREE)
        if made.set == "factors":
            assert made.wording == "fast loud dark major"
            for pole in made.wording.split():
                assert any(word in pieces(made.text) for word in FACTOR_WORDS[pole])
        if "bpm" in made.text:
            assert "150 bpm" in made.text


def test_training_sets_come_at_their_shares() -> None:
    counts = Counter(caption_for(rng_for("share", index), SAD).set for index in range(2000))
    for set_name, share in EMOTION_PIECE_SETS.items():
        # four standard errors of a binomial share
        assert counts[set_name] / 2000 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2000))


def test_a_repaired_caption_takes_all_but_nuisance_from_the_donor() -> None:
    for seed in range(200):
        made = repaired_caption(rng_for(seed), SAD, FREE)
        words = set(pieces(made.text))
        assert made.emotion is None
        assert not words & (set(MOODS["sad"]) | {"minor", "slow", "soft"})
        assert not words & (set(INSTRUMENTS) - {"flute"})
        assert not words & (set(KEYS.values()) - {"f"})


@given(st.builds(Poles, *(st.sampled_from(pair) for pair in POLES)))
def test_poles_survive_their_wording(poles: Poles) -> None:
    assert poles_from(poles.wording) == poles


def test_poles_read_each_factor_by_itself() -> None:
    assert poles_of(FREE).wording == "fast loud dark major"
    assert poles_of(replace(FREE, bpm=60.0)).wording == "slow loud dark major"
    assert poles_of(replace(FREE, rms=0.05)).wording == "fast soft dark major"
    assert poles_of(replace(FREE, brightness=0.7)).wording == "fast loud bright major"
    assert poles_of(replace(FREE, major=False)).wording == "fast loud dark minor"


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'generic'"):
        templates_of("genric")
    with pytest.raises(UsageError, match="Did you mean 'angry'"):
        wordings("generic", "angri")
    with pytest.raises(UsageError, match="prompt set must bear emotion; got 'neutral'"):
        wordings("neutral", "sad")
