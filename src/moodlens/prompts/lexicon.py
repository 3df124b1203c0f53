"""The words of the prompt grammar, and the word counts of a prompt.

Words bear emotion, name a musical factor, or are nuisance. The ladder of claims distinguishes three kinds of
words that bear emotion: mood words (`MOODS`), scenes without a mood word (`SCENES`), musical terms (`TERMS`).

Word counts (`bag_of_words`) are the lexical baseline: they contain neither meaning nor word order.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from moodlens.base.axes import EMOTIONS

AFFECT = {
    "happy": (0.70, 0.40),
    "sad": (-0.60, -0.50),
    "calm": (0.60, -0.72),
    "energetic": (0.50, 0.90),
    "angry": (-0.85, 0.80),
}
"""Centre of each emotion as (valence, arousal) in [-1, 1]; quadrants after Russell (1980), A circumplex
model of affect. Energetic is positive, so that energetic and angry differ by valence."""

MOODS = {
    "happy": ("happy", "joyful", "cheerful", "sunny", "playful", "merry", "delighted", "jolly"),
    "sad": ("sad", "sorrowful", "melancholic", "mournful", "gloomy", "tearful", "grieving", "heartbroken"),
    "calm": ("calm", "peaceful", "relaxing", "serene", "tranquil", "soothing", "restful", "placid"),
    "energetic": (
        "energetic",
        "exciting",
        "powerful",
        "driving",
        "wild",
        "thrilling",
        "vigorous",
        "dynamic",
    ),
    "angry": ("angry", "furious", "enraged", "hostile", "raging", "irate", "aggressive", "violent"),
}

SCENES = {
    "happy": (
        "a birthday party",
        "children dancing in the garden",
        "a summer picnic",
        "a carnival parade",
        "friends on a beach holiday",
        "a puppy in the park",
        "a wedding dance",
        "the first day of the holidays",
    ),
    "sad": (
        "a funeral in the rain",
        "the last goodbye at a station",
        "an empty chair by the window",
        "a letter from a lost friend",
        "a grave in november",
        "an abandoned house",
        "a widow walking home",
        "the death of a child",
    ),
    "calm": (
        "meditation at dawn",
        "a sleeping baby",
        "a lake at night",
        "clouds over a meadow",
        "tea by the fireplace",
        "snow falling on a forest",
        "a candle in a temple",
        "a boat drifting on the water",
    ),
    "energetic": (
        "a car chase",
        "a workout in the gym",
        "a football final",
        "a night in the club",
        "a rocket launch",
        "runners in a sprint",
        "a roller coaster ride",
        "a skateboard contest",
    ),
    "angry": (
        "a street fight",
        "a shouting match",
        "a prison riot",
        "a slammed door after a betrayal",
        "a mob at the gate",
        "revenge on an enemy",
        "a brawl in a bar",
        "a village on fire",
    ),
}

PACES = {
    "happy": ("lively", "upbeat", "brisk"),
    "sad": ("slow", "dragging", "lingering"),
    "calm": ("slow", "unhurried", "leisurely"),
    "energetic": ("very fast", "racing", "rapid"),
    "angry": ("very fast", "hammering", "frantic"),
}
TOUCHES = {
    "happy": ("bouncy", "sparkling", "skipping"),
    "sad": ("dark", "heavy", "muted"),
    "calm": ("soft", "smooth", "delicate"),
    "energetic": ("loud", "pounding", "punchy"),
    "angry": ("harsh", "dissonant", "clashing"),
}
TERMS = {
    emotion: tuple((pace, touch) for touch in TOUCHES[emotion] for pace in PACES[emotion])
    for emotion in EMOTIONS
}
"""Musical terms of each emotion: (tempo word, dynamics or timbre word). Wordings add the word of the mode."""

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
