"""A word-level tokenizer in T5's clothes: every grammar word one token, any other word its characters."""

import string

from transformers import T5Tokenizer

from moodlens.prompts.grammar import vocabulary

SPECIAL = ("<pad>", "</s>", "<unk>")
"""Ids 0, 1, 2, as T5 has them."""

WORD_MARK = "\u2581"
WORD_SCORE, MARK_SCORE, CHARACTER_SCORE = -4.0, -8.0, -10.0
"""Log weights of the unigram model: a known word always beats its spelling."""

CHARACTERS = string.ascii_lowercase + string.digits + ",.-'"


def build_tokenizer() -> T5Tokenizer:
    """Return the tokenizer of the prompt grammar; the text is to be lower case.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.tokenize("sad flute piece")
    ['▁sad', '▁flute', '▁piece']
    >>> tokenizer.tokenize("zorp")
    ['▁', 'z', 'o', 'r', 'p']
    """
    words = [word for word in vocabulary() if word not in CHARACTERS or word.isalnum()]
    pieces = [(token, 0.0) for token in SPECIAL] + [(WORD_MARK, MARK_SCORE)]
    pieces += [(WORD_MARK + word, WORD_SCORE) for word in words]
    pieces += [(character, CHARACTER_SCORE) for character in CHARACTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0)
