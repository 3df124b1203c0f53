"""Caption tables, on a small table of our own: which rows match, which are left out, which are picked."""

from collections import Counter

import pandas as pd
import pytest

from moodlens.base.errors import ContractError, UsageError
from moodlens.prompts.aspects import aspects_text
from moodlens.prompts.assembly import prompt_table, split_of_wordings
from moodlens.prompts.captions import CaptionColumns, matching, pick
from moodlens.prompts.grammar import Caption
from moodlens.prompts.lexicon import bag_of_words

WORDS = {
    "happy": ("happy", "joyful"),
    "sad": ("sad", "laid low"),
    "calm": ("calm", "calming"),
    "angry": ("angry",),
}
BY_MOOD = CaptionColumns("caption", "", "aspects")


def table(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["caption", "aspects"])


def matched(*pairs: tuple[str, str], emotions: tuple[str, ...] = ("happy", "sad", "calm")) -> list[tuple]:
    captions = matching(table(*pairs), BY_MOOD, WORDS, emotions, "t.csv")
    return [(caption.text, caption.emotion, caption.wording) for caption in captions]


@pytest.mark.parametrize(
    ("aspects", "emotion", "wording"),
    [
        ("['slow tempo', 'sad']", "sad", "sad"),
        ("['Sad Piano']", "sad", "sad"),
        ("sad, slow", "sad", "sad"),
        ("['calming melody', 'calm']", "calm", "calming"),
        ("('laid low', 'slow')", "sad", "laid low"),
        ("[broken, 'joyful'", "happy", "joyful"),
    ],
)
def test_the_mood_word_that_comes_first_is_the_wording(aspects: str, emotion: str, wording: str):
    assert matched(("a song", aspects)) == [("a song", emotion, wording)]


@pytest.mark.parametrize(
    "aspects",
    [
        "['happy', 'sad']",
        "['sad', 'angry']",
        "['unhappy']",
        "['sadness']",
        "['slow']",
        "",
        "[]",
        "__import__('os')",
    ],
)
def test_two_emotions_none_or_part_of_a_word_are_left_out(aspects: str):
    assert matched(("a song", aspects)) == []


def test_repeated_and_empty_texts_are_left_out():
    assert matched(("A  song", "sad"), ("a song", "sad"), (" ", "sad"), ("b", "calm")) == [
        ("A song", "sad", "sad"),
        ("b", "calm", "calm"),
    ]


def test_a_text_under_two_emotions_is_left_out_whatever_the_order():
    pairs = [("A  song", "sad"), ("a song", "happy"), ("b", "calm")]
    assert matched(*pairs) == matched(*pairs[::-1]) == [("b", "calm", "calm")]


@pytest.mark.parametrize(
    ("aspects", "emotion"),
    [
        ("['driving drums' 'sad']", "sad"),  # printed by numpy: no commas
        ("['slow'\n 'sad']", "sad"),
        ("array(['slow', 'sad'], dtype=object)", "sad"),
        ('["it\'s slow" "sad"]', "sad"),
        ("['not happy', 'sad']", "sad"),
        ("not happy, sad", "sad"),
        ("calming, not sad", "calm"),
        ("not fast but happy", "happy"),
        ("nothing but joyful", "happy"),
        ("not only happy", "happy"),
        ("['no drums', 'calm']", "calm"),
    ],
)
def test_an_array_and_a_negation_are_read_as_they_were_meant(aspects: str, emotion: str):
    words = WORDS | {"energetic": ("energetic", "driving drumssad")}
    found = matching(table(("a song", aspects)), BY_MOOD, words, ("happy", "sad", "calm"), "t.csv")
    assert [caption.emotion for caption in found] == [emotion]


@pytest.mark.parametrize(
    "aspects",
    [
        "['not happy', 'slow']",
        "never happy",
        "isn’t a very happy one",
        "without being happy",
        "anything but happy",
        "un-happy",
        "non-happy",
        "happy-free",
        "far from happy",
        "not happy, joyful",
        "neither calm nor sad",
        "less happy",
    ],
)
def test_a_negated_mood_is_none(aspects: str):
    assert matched(("a song", aspects)) == []


@pytest.mark.parametrize(
    ("aspects", "got"),
    [
        ("{'happy': 0.0}", "a mapping"),
        ("[('happy', 0.0)]", "a list of lists or mappings"),
        ("['happy' 'slow' ... 'piano']", "cut when it was printed"),
    ],
)
def test_a_cell_that_is_neither_text_nor_a_list_of_texts_is_refused_with_its_line(aspects: str, got: str):
    rows = table(("a song", "sad"), ("b song", aspects)).set_index(pd.Index([2, 7]))
    with pytest.raises(ContractError, match=rf"t\.csv line 7, column 'aspects' must hold text .*{got}"):
        matching(rows, BY_MOOD, WORDS, ("happy",), "t.csv")


def test_code_in_a_cell_is_text():
    assert aspects_text("__import__('os').getcwd()") == "__import__('os').getcwd()"
    assert aspects_text("[" * 5000) == "[" * 5000


def test_an_emotion_column_decides_and_the_text_gives_the_wording():
    rows = pd.DataFrame({"text": ["a joyful song", "rain", "x"], "label": [" Happy", "sad", "bored"]})
    captions = matching(rows, CaptionColumns("text", "label", "none"), WORDS, ("happy", "sad"), "t.csv")
    assert [(c.emotion, c.wording) for c in captions] == [("happy", "joyful"), ("sad", "rain")]
    assert captions[0].valence == 0.70


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            CaptionColumns("captoin", "", "aspects"),
            r"'captoin' \(prompts\.text_column\).*Did you mean 'caption'",
        ),
        (CaptionColumns("caption", "mood", "aspects"), r"'mood' \(prompts\.emotion_column\)"),
        (CaptionColumns("caption", "", "aspect_list"), r"'aspect_list' \(prompts\.mood_column\).*'aspects'"),
    ],
)
def test_a_missing_column_is_named_with_its_parameter(columns: CaptionColumns, line: str):
    with pytest.raises(ContractError, match=rf"t\.csv must have the column {line}"):
        matching(table(("a", "sad")), columns, WORDS, ("sad",), "t.csv")


def test_an_emotion_without_mood_words_is_refused():
    with pytest.raises(UsageError, match=r"prompts\.mood_words must hold words for 'energetic'"):
        matched(("a", "sad"), emotions=("energetic",))


def many(n: int) -> list[Caption]:
    moods = ["happy", "joyful", "sad", "laid low", "calm", "calming"]
    rows = table(*((f"song {word} {i}", word) for i in range(n) for word in moods))
    return matching(rows, BY_MOOD, WORDS, ("happy", "sad", "calm"), "t.csv")


def test_the_pick_is_balanced_over_emotions_and_wordings():
    chosen = pick(many(10), ("happy", "sad", "calm"), 6, 0, "t.csv")
    assert Counter(caption.emotion for caption in chosen) == {"happy": 6, "sad": 6, "calm": 6}
    assert set(Counter(caption.wording for caption in chosen).values()) == {3}


def test_the_pick_depends_on_the_seed_only_and_grows_with_n():
    captions = many(10)
    emotions = ("happy", "sad", "calm")
    texts = [caption.text for caption in pick(captions, emotions, 4, 0, "t")]
    assert texts == [caption.text for caption in pick(captions[::-1], emotions, 4, 0, "t")]
    assert set(texts) < {caption.text for caption in pick(captions, emotions, 6, 0, "t")}
    assert texts != [caption.text for caption in pick(captions, emotions, 4, 1, "t")]


def test_too_few_captions_say_how_many_match():
    line = r"t\.csv must hold at least 5 captions that match 'happy' and no other emotion; got 4"
    with pytest.raises(ContractError, match=line):
        pick(many(2), ("happy", "sad"), 5, 0, "t.csv")
    with pytest.raises(ContractError, match="got 0"):
        pick(many(2), ("angry",), 1, 0, "t.csv")


def test_a_split_holds_whole_wordings_and_three_wordings_reach_all_three():
    captions = [Caption(f"{w} {i}", "table", "table", w, "sad", 0.0, 0.0) for w in "abc" for i in range(4)]
    splits = split_of_wordings(captions, 0)
    assert sorted(splits.values()) == ["test", "train", "val"]
    rows = prompt_table(captions, 0)
    assert rows.groupby("wording")["split"].nunique().tolist() == [1, 1, 1]
    assert rows["prompt_id"].tolist()[:2] == ["sad-00", "sad-01"]


def test_the_largest_wording_is_trained_on():
    sizes = {"rare": 1, "common": 20, "other": 6}
    captions = [
        Caption(f"{w} {i}", "table", "table", w, "sad", 0.0, 0.0) for w, n in sizes.items() for i in range(n)
    ]
    assert split_of_wordings(captions, 3)["common"] == "train"


@pytest.mark.parametrize(
    ("texts", "wordings", "line"),
    [
        (("a", " "), ("x", "y"), r"a prompt's text must not be empty; got ' ' \(prompt 1, sad\)"),
        (("a b", "A  b"), ("x", "y"), r"a prompt's text must be unique; got 'A b' \(prompts 0 and 1\)"),
        (("a", "b"), ("x", "x"), r"a wording must stand for one emotion; got \"'x' for happy and sad\""),
    ],
)
def test_empty_and_repeated_texts_and_shared_wordings_are_refused(texts, wordings, line: str):
    made = zip(texts, wordings, ("happy", "sad"), strict=True)
    with pytest.raises(ContractError, match=line):
        prompt_table(
            [Caption(text, "table", "table", word, emotion, 0.0, 0.0) for text, word, emotion in made], 0
        )


def test_a_caption_without_an_emotion_is_neutral_and_comes_last():
    rows = prompt_table(
        [
            Caption("piano", "neutral", "t", "", None, None, None),
            Caption("sad", "generic", "t", "sad", "sad", 0, 0),
        ],
        0,
    )
    assert rows["prompt_id"].tolist() == ["sad-00", "neutral-00"]
    assert rows["valence"].isna().tolist() == [False, True]


def test_words_are_counted_without_case_or_punctuation():
    counts, words = bag_of_words(["Sad, sad; SAD!", "it's a laid-back song", "..."])
    assert words == ("a", "it's", "laid-back", "sad", "song")
    assert counts.tolist() == [[0, 0, 0, 3, 0], [1, 1, 1, 0, 1], [0, 0, 0, 0, 0]]
