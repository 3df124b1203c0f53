"""Words of the prompt grammar, the words that wordings share, and the word counts of a prompt.

Words bear emotion, name a musical factor, or are nuisance. `prompts.words` holds those that bear emotion, in
three kinds that the ladder of claims distinguishes: mood words, scenes without a mood word, musical terms.

`components` groups wordings that share a content word: two wordings of different components have no content
word in common, so that a reader of words that was fitted on one has met nothing of the other.

Word counts (`bag_of_words`) are the lexical baseline: they contain neither meaning nor word order.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

AFFECT = {
    "happy": (0.70, 0.40),
    "sad": (-0.60, -0.50),
    "calm": (0.60, -0.72),
    "energetic": (0.50, 0.90),
    "angry": (-0.85, 0.80),
}
"""Centre of each emotion as (valence, arousal) in [-1, 1]; quadrants after Russell (1980), A circumplex
model of affect. Energetic is positive, so that energetic and angry differ by valence."""

FACTOR_WORDS = {
    "slow": ("slow", "unhurried"),
    "fast": ("fast", "rapid"),
    "soft": ("soft", "quiet"),
    "loud": ("loud", "strong"),
    "dark": ("dark", "dull"),
    "bright": ("bright", "brilliant"),
    "major": ("major",),
    "minor": ("minor",),
}
"""Each pole of a factor and the words that name it; the first is the pole's own name."""

INSTRUMENTS = ("piano", "flute", "organ", "strings")
GENRES = ("folk", "pop", "electronic", "classical", "film", "game")
KEYS = {0: "c", 5: "f", 7: "g", 11: "b"}
"""Pitch class of the tonic -> its name. No tonic is the relative major (three semitones up) of another."""

BPM_WORDS = tuple(str(bpm) for bpm in range(40, 200, 10))


WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, with the apostrophes and hyphens inside a word.

    >>> words_of("A laid-back, SAD song; it's slow")
    ['a', 'laid-back', 'sad', 'song', "it's", 'slow']
    """
    return WORD.findall(text.lower())


FUNCTION_WORDS = frozenset(
    words_of(
        "a an the and or of in on at by for from with without to over under down after before beside beneath "
        "between among through his her its their that con"
    )
)
"""Articles, prepositions, pronouns and conjunctions; "con" is Italian for "with"."""


def content_words(wording: str) -> frozenset[str]:
    """Return the words of a wording in lower case, without FUNCTION_WORDS.

    >>> sorted(content_words("A lake at night"))
    ['lake', 'night']
    """
    return frozenset(words_of(wording)) - FUNCTION_WORDS


def components(wordings: Sequence[str]) -> Int[np.ndarray, " wording"]:
    """Return the connected component of each wording, numbered in order of first appearance.

    Two wordings that share a content word are linked, whatever their emotions. A wording without content
    words is linked to its repetitions only.

    >>> components(["a lake at night", "sad", "a night in the club", "a crowded club", "sad"]).tolist()
    [0, 1, 0, 0, 1]
    """
    members = [content_words(wording) or frozenset({wording}) for wording in wordings]
    node = {word: len(wordings) + i for i, word in enumerate(sorted(frozenset().union(*members)))}
    links = [(row, node[word]) for row, words in enumerate(members) for word in words]
    rows, columns = np.array(links, dtype=np.int64).reshape(-1, 2).T
    n_nodes = len(wordings) + len(node)
    graph = coo_array((np.ones(len(links)), (rows, columns)), shape=(n_nodes, n_nodes))
    _, found = connected_components(graph, directed=False)
    number: dict[int, int] = {}
    return np.array([number.setdefault(int(c), len(number)) for c in found[: len(wordings)]], dtype=np.int64)


def bag_of_words(texts: Sequence[str]) -> tuple[Float[np.ndarray, "prompt word"], tuple[str, ...]]:
    """Return the word counts of each text, float32, and the vocabulary in alphabetical order (the columns).

    >>> counts, words = bag_of_words(["sad sad flute", "flute"])
    >>> words, counts.tolist()
    (('flute', 'sad'), [[1.0, 2.0], [1.0, 0.0]])
    """
    words_of_texts = [words_of(text) for text in texts]
    vocabulary = tuple(sorted({word for words in words_of_texts for word in words}))
    column = {word: index for index, word in enumerate(vocabulary)}
    counts = np.zeros((len(texts), len(vocabulary)), dtype=np.float32)
    for row, words in enumerate(words_of_texts):
        for word in words:
            counts[row, column[word]] += 1
    return counts, vocabulary
