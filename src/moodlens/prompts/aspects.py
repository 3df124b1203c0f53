"""What a cell of a caption table says of moods: its aspects, and the mood words that it affirms.

A cell is plain text, a list as Python, JSON or numpy print it, or a comma-separated text. A mood word under a
negation in its own clause ("not happy", "without being sad", "anything but calm") is no mood of the caption.
"""

import ast
import re
from collections.abc import Mapping, Sequence

QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
ARRAY = re.compile(r"array\(\s*([\[(].*[\])])\s*(?:,\s*dtype=.*)?\)", re.DOTALL)
CLAUSE_END = re.compile(
    r"[,;:|.!?()\[\]{}\n/]|(?<!anything )\bbut\b|\b(?:yet|however|although)\b", re.IGNORECASE
)
NEGATION = re.compile(
    r"\b(?:not\b(?![\s-]+(?:only|just|merely)\b)|nothing\b(?!\s+but)|"
    r"(?:no|non|un|anti|never|none|nor|neither|without|cannot|\w+n['’]t|lack\w*|devoid|absence|avoid\w*|"
    r"far\s+from|free\s+(?:of|from)|anything\s+but|rather\s+than|instead\s+of|unlike|hardly|barely|scarcely|"
    r"rarely|seldom|less|minus|except|opposite)\b)",
    re.IGNORECASE,
)
FREE_OF_IT = re.compile(r"[\s-]*(?:free|less)\b", re.IGNORECASE)
"""After a mood word: "rage-free"."""
REACH = 5
"""Words between a negation and the mood word that it still negates: "does not sound at all like a happy"."""
LONGEST_WORD = 40
"""Characters; with REACH it bounds how far back a long text is searched."""


def aspects_text(cell: str) -> str:
    """Return the aspects of a cell as one text, separated by " | "; a cell that is no list is returned as is.

    Raises:
        ValueError: the cell is a list of something other than text, a mapping, or a list that was cut when it
            was printed; the message says which.

    >>> aspects_text("['slow tempo', 'sad']"), aspects_text("['driving drums' 'sad']")
    ('slow tempo | sad', 'driving drums | sad')
    >>> aspects_text("sad, slow [")
    'sad, slow ['
    """
    text = cell.strip()
    printed = ARRAY.fullmatch(text)
    listed = printed[1] if printed else text
    if len(listed) < 2 or (listed[0], listed[-1]) not in (("[", "]"), ("(", ")"), ("{", "}")):
        return cell
    items = QUOTED.findall(listed)
    between = QUOTED.sub("", listed[1:-1])
    if re.search(r"\.\.\.|…", between):
        raise ValueError("a list that was cut when it was printed (...)")
    if not between.replace(",", "").strip():
        return " | ".join(_unquoted(item) for item in items)
    try:
        parsed = ast.literal_eval(listed)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell
    if isinstance(parsed, Mapping):
        raise ValueError("a mapping")
    if not isinstance(parsed, (list, tuple, set)):
        return cell
    if any(isinstance(part, (list, tuple, set, dict)) for part in parsed):
        raise ValueError("a list of lists or mappings")
    return " | ".join(str(part) for part in parsed if part is not None)


def _unquoted(item: str) -> str:
    try:
        return str(ast.literal_eval(item))
    except (ValueError, SyntaxError):
        return item[1:-1]


def moods_in(text: str, patterns: Mapping[str, re.Pattern[str]]) -> list[tuple[str, str]]:
    """Return (emotion, mood word) of every whole-word match that is affirmed, in the order of the text.

    An emotion that is both affirmed and negated has no match, as in "not happy, joyful or upbeat".

    >>> moods_in("calming, not Sad", mood_patterns({"calm": ["calm", "calming"], "sad": ["sad"]}))
    [('calm', 'calming')]
    """
    affirmed, negated = [], set()
    for emotion, pattern in patterns.items():
        for match in pattern.finditer(text):
            if is_negated(text, match.start(), match.end()):
                negated.add(emotion)
            else:
                affirmed.append((match.start(), emotion, match.group().casefold()))
    return [(emotion, word) for _, emotion, word in sorted(affirmed) if emotion not in negated]


def is_negated(text: str, start: int, stop: int) -> bool:
    """Return whether the words text[start:stop] are negated: in their clause, at most REACH words away.

    >>> is_negated("not a very happy song", 11, 16), is_negated("not fast but happy", 13, 18)
    (True, False)
    """
    clause = CLAUSE_END.split(text[max(0, start - REACH * LONGEST_WORD) : start])[-1]
    found = list(NEGATION.finditer(clause))
    before = bool(found) and len(re.findall(r"\w+", clause[found[-1].end() :])) <= REACH
    return before or FREE_OF_IT.match(text[stop:]) is not None


def mood_patterns(mood_words: Mapping[str, Sequence[str]]) -> dict[str, re.Pattern[str]]:
    """Return one pattern per emotion; longer words come first, so that "laid back" matches before "laid"."""
    patterns = {}
    for emotion, words in mood_words.items():
        if words:
            options = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
            patterns[emotion] = re.compile(rf"(?<!\w)(?:{options})(?!\w)", re.IGNORECASE)
    return patterns
