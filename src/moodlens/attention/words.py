"""Which tokens of a prompt bear its emotion, and which content words of the same prompt match them.

emotion   tokens of the content words of the prompt's wording
control   tokens of content words outside the wording: as many words, each the nearest to an emotion word
end       tokens of no character: the end token, or a start token
other     everything else: function words, punctuation, content words beyond the matched ones

Matching. Words are matched in kind (content words only: a wording is no better than "piano" merely because
"of" carries nothing), in number (never more control words than emotion words) and in place (nearest first).
What stays unmatched, such as how often a word occurs over all prompts, is stated with the result. Masses are
compared per token, so that a word of many pieces gains nothing: uniform attention gives a difference of 0.
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
"""Words of grammar, which neither side of the comparison may count."""

Span = tuple[int, int]
"""First character and the one after the last."""


def token_classes(text: str, wording: str, spans: Sequence[Span]) -> Int[np.ndarray, " token"]:
    """Return the class of every token of a prompt, an index into `CLASSES`.

    Args:
        text: the prompt.
        wording: the words that bear emotion; parts between commas need not be neighbours in the text. Empty
            for a neutral prompt: it has neither emotion nor control tokens.
        spans: characters of each token; an empty span is a token of no character.

    >>> spans = [(0, 8), (9, 14), (15, 20), (0, 0)]
    >>> [CLASSES[k] for k in token_classes("cheerful organ piece", "cheerful", spans)]
    ['emotion', 'control', 'other', 'end']
    """
    words = [match.span() for match in WORD.finditer(text)]
    content = [text[start:stop].lower() not in FUNCTION_WORDS for start, stop in words]
    borne = _occurrences(text, wording)
    felt = [any(a < stop and start < b for a, b in borne) for start, stop in words]
    emotion = [i for i, inside in enumerate(felt) if inside and content[i]]
    free = [i for i, inside in enumerate(felt) if not inside and content[i]]
    of_word = dict.fromkeys(emotion, EMOTION) | dict.fromkeys(nearest(emotion, free), CONTROL)
    return np.array([_class_of(span, text, words, of_word) for span in spans], dtype=np.int64)


def nearest(wanted: Sequence[int], free: Sequence[int]) -> list[int]:
    """Return at most as many places of `free` as are wanted, each the nearest left to the next wanted one.

    Of two equally near places the later is taken on even turns and the earlier on odd ones, so that neither
    side of the wanted words is preferred.

    >>> nearest([2, 3], [0, 1, 4])
    [1, 4]
    """
    left, taken = list(free), []
    for turn, place in enumerate(wanted):
        if not left:
            break
        side = -1 if turn % 2 else 1
        found = min(left, key=lambda other: (abs(other - place), -side * other))
        left.remove(found)
        taken.append(found)
    return taken


def _occurrences(text: str, wording: str) -> list[Span]:
    """Return where the wording stands in the text: whole, or part by part where it is a list."""
    parts = [wording] if _found(text, wording) else wording.split(",")
    return [span for part in parts for span in _found(text, part)]


def _found(text: str, part: str) -> list[Span]:
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
