"""The units and the nuisances of a prompt table: which wordings count as one, and what else prompts name."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from moodlens.params.pipeline import Prompts
from moodlens.prompts.captions import TEMPLATE, CaptionColumns, matching
from moodlens.prompts.grammar import EMOTION_SETS, wordings
from moodlens.prompts.lexicon import GENRES, INSTRUMENTS, KEYS, components, content_words, words_of
from moodlens.store.csv_text import read_csv_text

NEAR = 0.5
"""Share of the content words of two captions that they have in common, from which they count as one unit."""

COLUMNS = ("set", "template")
"""Columns of the prompt table that are nuisances."""
NAMED = {
    "instrument": frozenset(
        words_of(
            "accordion bagpipe banjo bass bassoon bell bells brass cello clarinet drum drums fiddle guitar "
            "guitars harmonica harp harpsichord horn keyboard mandolin marimba oboe percussion piccolo sax "
            "saxophone sitar synth synthesizer trombone trumpet tuba ukulele vibraphone viola violin violins "
            "xylophone"
        )
    )
    | frozenset(INSTRUMENTS),
    "genre": frozenset(
        words_of(
            "ambient blues country disco dubstep edm funk gospel hip-hop house indie jazz latin metal "
            "orchestral punk rap reggae rock soul techno trance trap"
        )
    )
    | frozenset(GENRES),
}
"""Nuisance -> the words that name it, in the grammar and in captions of others."""
KEY = re.compile(
    rf"\b(?:key of|in) (?P<plain>[{''.join(KEYS.values())}])\b"
    r"|\b(?P<named>[a-g](?:#|b| flat| sharp)?) (?:major|minor)\b"
)


def merged_wordings(emotions: Sequence[str], wordings: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return the unit of each prompt: wordings of one emotion that share a content word are one unit.

    A unit has the name of its first wording.

    A reader of words that was fitted on one of two such wordings has met the other, so they are no
    replicates. A word that stands under two emotions merges nothing across them: a unit of two emotions could
    not be relabelled.

    A caption in which no wording is marked has its text as wording. Any two captions share words such as
    "music", so these are merged only where at least half of their content words are the same (near
    duplicates).

    >>> merged_wordings(["sad", "sad", "calm"], ["a grey day", "one day", "a day off"], ["x", "y", "z"])
    ['a grey day', 'a grey day', 'a day off']
    """
    names = np.array(wordings, dtype=object)
    whole = np.array([_plain(word) == _plain(text) for word, text in zip(wordings, texts, strict=True)])
    groups = np.array(emotions)
    for emotion in dict.fromkeys(emotions):
        for rows, link in (
            (np.nonzero((groups == emotion) & ~whole)[0], components),
            (np.nonzero((groups == emotion) & whole)[0], near_duplicates),
        ):
            if rows.size:
                found = link([str(name) for name in names[rows]])
                _, first = np.unique(found, return_index=True)
                names[rows] = names[rows[first]][found]
    return names.tolist()


def near_duplicates(texts: Sequence[str]) -> Int[np.ndarray, " text"]:
    """Return the group of each text, numbered in order of first appearance.

    Texts that have at least the share `NEAR` of their content words in common are linked; a group holds the
    texts that are linked directly or through others.

    >>> near_duplicates(["slow sad piano", "sad piano song", "a calm flute"]).tolist()
    [0, 0, 1]
    """
    words = [content_words(text) or frozenset({text}) for text in texts]
    alike = np.array([[len(a & b) >= NEAR * len(a | b) for b in words] for a in words])
    _, found = connected_components(csr_array(alike), directed=False)
    number: dict[int, int] = {}
    return np.array([number.setdefault(int(c), len(number)) for c in found], dtype=np.int64)


def nuisances_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return what prompts name besides their wording: set, template, instrument, genre and key of each.

    Instrument, genre and key are the words of the text outside its wording that name one; "" where none does.

    Args:
        table: rows of `contracts.tables.PROMPTS`.
    """
    columns = {name: table[name].astype(str).tolist() for name in COLUMNS}
    rest = [_without(text, wording) for text, wording in zip(table["text"], table["wording"], strict=True)]
    for name, known in NAMED.items():
        columns[name] = [" ".join(sorted(known.intersection(words_of(text)))) for text in rest]
    columns["key"] = [
        " ".join(sorted({m["plain"] or m["named"] for m in KEY.finditer(text)})) for text in rest
    ]
    return columns


def wordings_available(prompts: Prompts, root: Path) -> int:
    """Return how many units of an emotion the requested prompt sets hold, for the emotion with fewest.

    Args:
        prompts: section of params.yaml. The grammar's sets hold their lists of wordings, a caption table the
            wordings of its usable captions.
        root: workspace, where `prompts.table_path` begins.
    """
    found: dict[str, list[tuple[str, str]]] = {emotion: [] for emotion in prompts.emotions}
    for name in prompts.sets:
        if name in EMOTION_SETS:
            for emotion in prompts.emotions:
                found[emotion] += [(wording, "") for wording in wordings(name, emotion)]
    if TEMPLATE in prompts.sets:
        path = root / prompts.table_path
        columns = CaptionColumns(prompts.text_column, prompts.emotion_column, prompts.mood_column)
        rows = read_csv_text(path, "prompts.table_path")
        for caption in matching(rows, columns, prompts.mood_words, prompts.emotions, path.name):
            found[str(caption.emotion)].append((caption.wording, caption.text))
    counts = []
    for emotion, pairs in found.items():
        words, texts = ([pair[side] for pair in pairs] for side in (0, 1))
        counts.append(len(set(merged_wordings([emotion] * len(pairs), words, texts))))
    return min(counts)


def _without(text: str, wording: str) -> str:
    """Return the text in lower case without its wording; the whole text where the wording is all of it."""
    text, wording = _plain(text), _plain(wording)
    return text if text == wording or not wording else text.replace(wording, " ", 1)


def _plain(text: str) -> str:
    return " ".join(str(text).split()).casefold()
