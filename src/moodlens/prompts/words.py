"""The words of a prompt, counted: the lexical baseline that knows no meaning and no order."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case; apostrophes and hyphens inside a word stay.

    >>> words_of("A laid-back, SAD song; it's slow")
    ['a', 'laid-back', 'sad', 'song', "it's", 'slow']
    """
    return WORD.findall(text.lower())


def bag_of_words(texts: Sequence[str]) -> tuple[Float[np.ndarray, "prompt word"], tuple[str, ...]]:
    """Return the word counts of each text, float32, and the vocabulary in alphabetical order (the columns).

    >>> counts, words = bag_of_words(["sad sad flute", "flute"])
    >>> words, counts.tolist()
    (('flute', 'sad'), [[1.0, 2.0], [1.0, 0.0]])
    """
    found = [words_of(text) for text in texts]
    vocabulary = tuple(sorted({word for words in found for word in words}))
    column = {word: index for index, word in enumerate(vocabulary)}
    counts = np.zeros((len(texts), len(vocabulary)), dtype=np.float32)
    for row, words in enumerate(found):
        for word in words:
            counts[row, column[word]] += 1
    return counts, vocabulary
