"""Classes of prompt tokens: emotion words, matched control words of the same prompt, end tokens, others.

emotion   tokens of the content words of the prompt's wording
control   tokens of content words outside the wording: as many words, each the nearest to an emotion word
end       tokens of no character: the end token, or a start token
other     all other tokens: function words, punctuation, unmatched content words

Words are matched in kind (content words only, because function words such as "of" carry little attention), in
number (never more control words than emotion words) and in position (nearest first). What is not matched,
such as how often a word occurs over all prompts, is stated with the result. Attention mass is compared per
token, so a word of many tokens has no advantage: uniform attention gives a difference of 0.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from moodlens.prompts.lexicon import WORD

CLASSES = ("emotion", "control", "end", "other")
EMOTION, CONTROL, END, OTHER = range(4)

FUNCTION_WORDS = frozenset(
    ("a", "an", "and", "as", "at", "be", "by", "for", "from", "i", "in", "into", "is", "it", "its", "my",
     "of", "on", "or", "over", "so", "some", "something", "that", "the", "this", "to", "very", "was", "we",
     "with", "you", "your")
)  # fmt: skip
"""Function words, which count as neither emotion nor control words."""

Span = tuple[int, int]
"""First character, and one past the last."""


def token_classes(text: str, wording: str, spans: Sequence[Span]) -> Int[np.ndarray, " token"]:
    """Return the class of every token of a prompt, an index into `CLASSES`.

    Args:
        text: the prompt.
        wording: the words that carry the emotion; parts between commas may be apart in the text. It is empty
            for a neutral prompt, which has neither emotion nor control tokens.
        spans: characters of each token; an empty span is a token of no character.

    >>> spans = [(0, 8), (9, 14), (15, 20), (0, 0)]
    >>> [CLASSES[k] for k in token_classes("cheerful organ piece", "cheerful", spans)]
    ['emotion', 'control', 'other', 'end']
    """
    words = [match.span() for match in WORD.finditer(text)]
    content = [text[start:stop].lower() not in FUNCTION_WORDS for start, stop in words]
    occurrences = _occurrences(text, wording)
    in_wording = [any(a < stop and start < b for a, b in occurrences) for start, stop in words]
    emotion = [i for i, inside in enumerate(in_wording) if inside and content[i]]
    free = [i for i, inside in enumerate(in_wording) if not inside and content[i]]
    of_word = dict.fromkeys(emotion, EMOTION) | dict.fromkeys(nearest(emotion, free), CONTROL)
    return np.array([_class_of(span, text, words, of_word) for span in spans], dtype=np.int64)


def nearest(wanted: Sequence[int], free: Sequence[int]) -> list[int]:
    """Return the nearest position of `free` for each wanted position in turn; no position is used twice.

    If two positions are equally near, the later one is taken on even turns and the earlier one on odd turns,
    so that neither side is preferred. There are fewer results than wanted positions if `free` runs out.

    >>> nearest([2, 3], [0, 1, 4])
    [1, 4]
    """
    left, taken = list(free), []
    for turn, position in enumerate(wanted):
        if not left:
            break
        side = -1 if turn % 2 else 1
        best = min(left, key=lambda other: (abs(other - position), -side * other))
        left.remove(best)
        taken.append(best)
    return taken


def _occurrences(text: str, wording: str) -> list[Span]:
    """Return the spans of the wording in the text: as a whole, or of its parts if it is a list."""
    parts = [wording] if _spans_of(text, wording) else wording.split(",")
    return [span for part in parts for span in _spans_of(text, part)]


def _spans_of(text: str, part: str) -> list[Span]:
    if not part.strip():
        return []
    pattern = rf"(?<!\w){re.escape(part.strip())}(?!\w)"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


def _class_of(span: Span, text: str, words: Sequence[Span], of_word: dict[int, int]) -> int:
    start, stop = span
    if start == stop:
        return END
    while start < len(text) and text[start].isspace():  # a word mark alone belongs to the word that follows
        start += 1
    stop = max(stop, start + 1)
    for i, (first, last) in enumerate(words):
        if first < stop and start < last:
            return of_word.get(i, OTHER)
    return OTHER
