"""The wordings: enough of each, all independent of each other, each in its own register."""

import re
from itertools import combinations

import pytest

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError
from moodlens.base.seeding import rng_for
from moodlens.prompts.diverse import ADVERBS, SYNONYMS
from moodlens.prompts.grammar import (
    EMOTION_SETS,
    TEMPLATES,
    caption,
    draw_nuisance,
    pieces,
    vocabulary,
    wordings,
)
from moodlens.prompts.lexicon import FACTOR_WORDS, GENRES, INSTRUMENTS, components, content_words
from moodlens.prompts.words import MOODS, SCENES, TERMS

MOOD_WORDS = {word for words in MOODS.values() for word in words}
FACTORS = {word for words in FACTOR_WORDS.values() for word in words}
ENDINGS = ("s", "es", "d", "ed", "ing", "er", "ers", "ly", "y", "e", "ful", "less", "en", "ion")
"""Endings of inflections and of the commonest derivations."""


def all_of(set_name: str) -> list[str]:
    return [wording for emotion in EMOTIONS for wording in wordings(set_name, emotion)]


def content_of(*set_names: str) -> set[str]:
    return {word for name in set_names for wording in all_of(name) for word in content_words(wording)}


@pytest.mark.parametrize("set_name", EMOTION_SETS)
def test_every_emotion_has_forty_wordings_of_its_own(set_name: str) -> None:
    assert [len(wordings(set_name, emotion)) for emotion in EMOTIONS] == [40] * 5
    assert len(set(all_of(set_name))) == 200


@pytest.mark.parametrize("set_name", EMOTION_SETS)
def test_no_two_wordings_of_a_set_are_linked(set_name: str) -> None:
    every = all_of(set_name)
    assert components(every).tolist() == list(range(len(every)))


def stems(word: str) -> set[str]:
    """Return the word, and what is left of it without an ending, if that has three letters or more.

    >>> sorted(stems("dancing")), sorted(stems("dance"))
    (['danc', 'dancing'], ['danc', 'dance'])
    """
    return {word} | {word.removesuffix(ending) for ending in ENDINGS if len(word) - len(ending) >= 3}


@pytest.mark.parametrize("set_name", EMOTION_SETS)
def test_no_two_content_words_of_a_set_share_a_stem(set_name: str) -> None:
    pairs = combinations(sorted(content_of(set_name)), 2)
    assert [(one, other) for one, other in pairs if stems(one) & stems(other)] == []


def test_mood_words_are_single_words_and_scenes_and_terms_are_short() -> None:
    assert {len(wording.split()) for wording in all_of("generic")} == {1}
    assert {len(wording.split()) for wording in all_of("scenes")} <= {2, 3, 4, 5, 6}
    assert {len(wording.split()) for wording in all_of("descriptive")} <= {1, 2, 3}


def test_every_word_is_lower_case_ascii_and_in_the_vocabulary() -> None:
    words = [word for name in EMOTION_SETS for wording in all_of(name) for word in wording.split()]
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert set(words) <= set(vocabulary())


def test_scenes_and_terms_hold_no_mood_word() -> None:
    assert not content_of("scenes", "descriptive") & MOOD_WORDS
    stems = tuple(mood[:6] for mood in MOOD_WORDS)
    assert [word for word in content_of("scenes") if word.startswith(stems)] == []


def test_no_two_wordings_of_different_sets_are_linked() -> None:
    every = [wording for name in EMOTION_SETS for wording in all_of(name)]
    assert components(every).tolist() == list(range(600))


def test_wordings_hold_no_factor_word_no_nuisance_word_and_no_word_of_a_template() -> None:
    templates = " ".join(template for group in TEMPLATES.values() for template in group)
    taken = FACTORS | {*GENRES, *INSTRUMENTS} | content_words(re.sub(r"{\w+}", "", templates))
    assert not content_of(*EMOTION_SETS) & taken


def test_captions_of_musical_terms_name_no_mode() -> None:
    for emotion in EMOTIONS:
        for seed in range(100):
            rng = rng_for(seed)
            made = caption(rng, "descriptive", emotion, draw_nuisance(rng))
            assert not {"major", "minor"} & set(pieces(made.text))


def test_synonyms_are_four_words_per_emotion_and_new_to_the_organism_like_the_adverbs() -> None:
    synonyms = [word for emotion in EMOTIONS for word in SYNONYMS[emotion]]
    assert [len(SYNONYMS[emotion]) for emotion in EMOTIONS] == [4] * 5
    assert len(set(synonyms)) == 20
    assert not {*synonyms, *ADVERBS} & set(vocabulary())


def test_the_first_wordings_are_those_of_earlier_versions() -> None:
    assert MOODS["sad"][:3] == ("sad", "sorrowful", "melancholic")
    assert SCENES["calm"][:2] == ("meditation at dawn", "a sleeping baby")
    assert TERMS["angry"][0] == "sforzando"


def test_an_unknown_set_has_no_wordings() -> None:
    with pytest.raises(UsageError, match="prompt set must bear emotion; got 'moods'"):
        wordings("moods", "sad")
