"""Which tokens count: by hand on real prompts of every set, and as properties."""

import re

from hypothesis import given
from hypothesis import strategies as st

from moodlens.attention.words import CLASSES, CONTROL, EMOTION, FUNCTION_WORDS, nearest, token_classes


def spans_of(text: str) -> list[tuple[int, int]]:
    """One token per word or sign, as a word-level tokenizer gives, and the end token."""
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)] + [(0, 0)]


def said(text: str, wording: str) -> list[str]:
    return [CLASSES[k] for k in token_classes(text, wording, spans_of(text))]


def test_a_mood_word_and_the_nearest_content_word():
    assert said("i feel joyful, flute in f", "joyful") == [
        "other", "other", "emotion", "other", "control", "other", "other", "end",
    ]  # fmt: skip


def test_parts_of_a_wording_may_stand_apart_and_in_another_order():
    found = said("muted strings in f minor, dragging", "dragging, muted, minor")
    assert found == ["emotion", "control", "other", "control", "emotion", "other", "emotion", "end"]


def test_function_words_inside_a_scene_count_on_neither_side():
    found = said("the death of a child, pop piece", "the death of a child")
    assert found == ["other", "emotion", "other", "other", "emotion", "other", "control", "control", "end"]


def test_pieces_of_one_word_share_its_class_and_a_lone_word_mark_belongs_to_the_word_behind_it():
    text = "sad zorp"
    pieces = [(0, 3), (3, 4), (4, 5), (5, 8), (0, 0)]
    assert [CLASSES[k] for k in token_classes(text, "sad", pieces)] == [
        "emotion", "control", "control", "control", "end",
    ]  # fmt: skip


def test_a_neutral_prompt_and_a_wording_that_is_not_in_the_text_have_neither():
    for wording in ("", "happy", "art", "toon"):  # the last two stand inside "cartoon" only
        assert set(said("cartoon piece on flute", wording)) == {"other", "end"}


def test_case_does_not_matter():
    assert said("A Happy Song", "happy")[1] == "emotion"


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(31, 60), unique=True))
def test_never_more_controls_than_emotion_words_and_none_twice(wanted, free):
    found = nearest(wanted, free)
    assert len(found) == len(set(found)) == min(len(wanted), len(free))
    assert set(found) <= set(free)


@given(st.lists(st.sampled_from(["sad", "flute", "of", "a", "piece", "rain"]), min_size=1, max_size=9))
def test_controls_are_content_words_outside_the_wording_and_no_more_than_emotion_words(words):
    text = " ".join(words)
    classes = token_classes(text, "sad", spans_of(text))
    emotion = [word for word, k in zip(words, classes, strict=False) if k == EMOTION]
    control = [word for word, k in zip(words, classes, strict=False) if k == CONTROL]
    assert set(emotion) <= {"sad"}
    assert not set(control) & (FUNCTION_WORDS | {"sad"})
    assert len(control) <= len(emotion) == words.count("sad")
