"""Prompts from a table of captions: equally many rows of each requested emotion.

The emotion of a caption is that of a column, or of the mood words that its aspects affirm
(`prompts.aspects`). Captions that match two emotions, texts under two emotions and repeated texts are left
out. Mood words match whole words in any case: "calming" is not "calm" and "unhappy" is not "happy".
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from re import Pattern

import pandas as pd

from moodlens.base.errors import ContractError, UsageError, must, nearest
from moodlens.base.seeding import seed_for
from moodlens.prompts.aspects import aspects_text, mood_patterns, moods_in
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
        rows: the table, every cell as text, indexed by line (`store.csv_text`).
        columns: the columns to read.
        mood_words: emotion -> the words that name it. Emotions that are not requested count too: a caption
            that is both sad and angry is left out even if only sad is requested.
        emotions: the requested emotions.
        file: name of the table in error messages.

    Returns:
        Captions; the wording of each is its first mood word. With an emotion column, a caption without a
        mood word has its text as wording.

    Raises:
        ContractError: a named column is absent, or a cell of it is no text and no list of texts.
        UsageError: an emotion has no mood words and there is no emotion column.
    """
    named = columns.emotion_column or columns.mood_column
    key = "emotion_column" if columns.emotion_column else "mood_column"
    for parameter, column in (("text_column", columns.text_column), (key, named)):
        if column not in rows.columns:
            have = nearest(column, [str(name) for name in rows.columns])
            rule = f"have the column '{column}' (prompts.{parameter})"
            raise ContractError(must(file, rule, "no such column", next_step=have))
    patterns = mood_patterns(mood_words)
    for emotion in emotions:
        if not columns.emotion_column and emotion not in patterns:
            rule, advice = f"hold words for '{emotion}'", "Add the words that name it"
            raise UsageError(must("prompts.mood_words", rule, sorted(patterns), next_step=advice))
    usable: dict[str, Caption] = {}
    emotion_of: dict[str, str] = {}
    contradicted: set[str] = set()
    for line, raw, mark in zip(rows.index, rows[columns.text_column], rows[named], strict=True):
        text = " ".join(raw.split())
        key_text = text.casefold()
        if not text:
            continue
        moods = _moods_of(
            mark, f"{file} line {line}, column '{named}'", patterns, bool(columns.emotion_column)
        )
        if len({name for name, _ in moods}) != 1:
            continue
        emotion, wording = moods[0]
        if emotion_of.setdefault(key_text, emotion) != emotion:
            contradicted.add(key_text)
        if columns.emotion_column:
            wording = next((word for name, word in moods_in(text, patterns) if name == emotion), text)
        if emotion in emotions:
            usable.setdefault(key_text, Caption(text, TEMPLATE, TEMPLATE, wording, emotion, *AFFECT[emotion]))
    return [caption for key_text, caption in usable.items() if key_text not in contradicted]


def _moods_of(
    cell: str, place: str, patterns: Mapping[str, Pattern[str]], is_label: bool
) -> list[tuple[str, str]]:
    """Return (emotion, word) of the moods of a cell, or of its label; refuse a cell that is no text."""
    try:
        aspects = aspects_text(cell)
    except ValueError as error:
        rule, advice = "hold text or a list of texts", "Write the moods as text, apart by commas"
        raise ContractError(must(place, rule, str(error), next_step=advice)) from None
    if is_label:
        label = aspects.strip().casefold()
        return [(label, label)]
    return moods_in(aspects, patterns)


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
