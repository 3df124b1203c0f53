"""Prompts from a table of captions: equally many rows of each requested emotion.

The emotion of a caption is that of a column, or of the mood words in its aspects (a Python list as text, or
plain text). Captions that match two emotions and repeated texts are left out. Mood words match whole words in
any case: "calming" is not "calm" and "unhappy" is not "happy".
"""

import ast
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from moodlens.base.errors import ContractError, UsageError, must, nearest
from moodlens.base.seeding import seed_for
from moodlens.prompts.grammar import Caption
from moodlens.prompts.lexicon import AFFECT

TEMPLATE = "table"
"""Set and template of every prompt from a caption table."""


@dataclass(frozen=True)
class CaptionColumns:
    """The columns of a caption table; the fields are those of params.yaml."""

    text_column: str  # the caption
    emotion_column: str  # the emotion; "" takes it from mood_column
    mood_column: str  # searched for mood words when emotion_column is ""


def matching(
    rows: pd.DataFrame,
    columns: CaptionColumns,
    mood_words: Mapping[str, Sequence[str]],
    emotions: Sequence[str],
    file: str,
) -> list[Caption]:
    """Return every usable caption of the requested emotions, in the order of the table.

    Args:
        rows: the table, every cell as text.
        columns: the columns to read.
        mood_words: emotion -> the words that name it. Emotions that are not requested count too: a caption
            that is both sad and angry is left out even if only sad is requested.
        emotions: the requested emotions.
        file: name of the table in error messages.

    Returns:
        Captions; the wording of each is its first mood word. With an emotion column, a caption without a
        mood word has its text as wording.

    Raises:
        ContractError: a named column is absent.
        UsageError: an emotion has no mood words and there is no emotion column.
    """
    named = columns.emotion_column or columns.mood_column
    key = "emotion_column" if columns.emotion_column else "mood_column"
    for parameter, column in (("text_column", columns.text_column), (key, named)):
        if column not in rows.columns:
            have = nearest(column, [str(name) for name in rows.columns])
            rule = f"have the column '{column}' (prompts.{parameter})"
            raise ContractError(must(file, rule, "no such column", next_step=have))
    patterns = _patterns(mood_words)
    for emotion in emotions:
        if not columns.emotion_column and emotion not in patterns:
            rule, advice = f"hold words for '{emotion}'", "Add the words that name it"
            raise UsageError(must("prompts.mood_words", rule, sorted(patterns), next_step=advice))
    usable: dict[str, Caption] = {}
    for raw, mark in zip(rows[columns.text_column], rows[named], strict=True):
        text = " ".join(raw.split())
        key_text = text.casefold()
        if not text or key_text in usable:
            continue
        if columns.emotion_column:
            emotion = mark.strip().casefold()
            wording = next((word for name, word in moods_in(text, patterns) if name == emotion), text)
        else:
            moods = moods_in(aspects_text(mark), patterns)
            if len({name for name, _ in moods}) != 1:
                continue
            emotion, wording = moods[0]
        if emotion in emotions:
            usable[key_text] = Caption(text, TEMPLATE, TEMPLATE, wording, emotion, *AFFECT[emotion])
    return list(usable.values())


def pick(
    captions: Sequence[Caption], emotions: Sequence[str], n_per_emotion: int, seed: int, file: str
) -> list[Caption]:
    """Return n_per_emotion captions of each emotion, alternating between emotions and between wordings.

    The order within a wording is a function of (seed, text) alone. A larger n therefore keeps the captions
    of a smaller one, and the order of the table does not matter.

    Raises:
        ContractError: an emotion has fewer captions than requested.
    """
    chosen = []
    for emotion in emotions:
        queues: dict[str, list[Caption]] = defaultdict(list)
        for caption in captions:
            if caption.emotion == emotion:
                queues[caption.wording].append(caption)
        n_matching = sum(map(len, queues.values()))
        if n_matching < n_per_emotion:
            rule = f"hold at least {n_per_emotion} captions that match '{emotion}' and no other emotion"
            advice = f"Lower prompts.n_per_emotion or add words to prompts.mood_words.{emotion}"
            raise ContractError(must(file, rule, n_matching, next_step=advice))
        rank = {}
        for word, queue in queues.items():
            for turn, caption in enumerate(sorted(queue, key=lambda c: seed_for("caption", seed, c.text))):
                rank[caption] = (turn, seed_for("wording", seed, word))
        chosen.append(sorted(rank, key=rank.__getitem__)[:n_per_emotion])
    return [caption for row in zip(*chosen, strict=True) for caption in row]


def aspects_text(cell: str) -> str:
    """Return the aspects of a cell as one text, separated by " | "; a cell that is no list is returned as is.

    >>> aspects_text("['slow tempo', 'sad']")
    'slow tempo | sad'
    >>> aspects_text("sad, slow [")
    'sad, slow ['
    """
    try:
        parsed = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell
    return " | ".join(map(str, parsed)) if isinstance(parsed, (list, tuple, set)) else cell


def moods_in(text: str, patterns: Mapping[str, re.Pattern[str]]) -> list[tuple[str, str]]:
    """Return (emotion, mood word) of every whole-word match, in the order of the text.

    >>> moods_in("calming, not Sad", _patterns({"calm": ["calm"], "sad": ["sad"]}))
    [('sad', 'sad')]
    """
    hits = [
        (match.start(), emotion, match.group().casefold())
        for emotion, pattern in patterns.items()
        for match in pattern.finditer(text)
    ]
    return [(emotion, word) for _, emotion, word in sorted(hits)]


def _patterns(mood_words: Mapping[str, Sequence[str]]) -> dict[str, re.Pattern[str]]:
    """Return one pattern per emotion; longer words come first, so that "laid back" matches before "laid"."""
    patterns = {}
    for emotion, words in mood_words.items():
        if words:
            options = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
            patterns[emotion] = re.compile(rf"(?<!\w)(?:{options})(?!\w)", re.IGNORECASE)
    return patterns
