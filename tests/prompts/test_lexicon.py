"""Content words and the components of wordings that share them, against a closure by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from moodlens.prompts.lexicon import components, content_words


def test_function_words_and_case_do_not_count() -> None:
    assert content_words("The Death of a mother") == {"death", "mother"}
    assert content_words("con brio") == {"brio"}
    assert content_words("on the, of") == frozenset()


def test_a_chain_of_shared_words_is_one_component() -> None:
    texts = ["a dance", "sad", "wedding in june", "the wedding dance", "a letter", "june rain"]
    assert components(texts).tolist() == [0, 1, 0, 0, 2, 0]


def test_function_words_link_nothing_and_repetitions_are_one() -> None:
    assert components(["a lake", "a hill", "over the", "over the", "", ""]).tolist() == [0, 1, 2, 2, 3, 3]
    assert components([]).tolist() == []
    assert components(["sad"]).dtype == np.int64


def merged(texts: list[str]) -> list[set[int]]:
    """Return the components as sets of rows: merge two groups while any two share a content word."""
    groups = [({row}, set(content_words(text)) or {text}) for row, text in enumerate(texts)]
    for row in range(len(texts)):
        own = next(group for group in groups if row in group[0])
        linked = [group for group in groups if group[1] & own[1]]
        while len(linked) > 1:
            groups = [group for group in groups if group not in linked]
            own = (set().union(*(g[0] for g in linked)), set().union(*(g[1] for g in linked)))
            groups.append(own)
            linked = [group for group in groups if group[1] & own[1]]
    return sorted((rows for rows, _ in groups), key=min)


WORDS = st.sampled_from(["rain", "lake", "tea", "dawn", "club", "dance", "hill", "the", "on"])


@given(st.lists(st.lists(WORDS, max_size=3).map(" ".join), max_size=12))
def test_components_are_those_of_merging_by_hand(texts: list[str]) -> None:
    found = components(texts)
    expected = merged(texts)
    assert [set(np.flatnonzero(found == number).tolist()) for number in range(len(expected))] == expected
