"""The prompt grammar: captions that the organism is trained on, and prompts of the pipeline.

A text is one template of one set, filled with one wording (the words that bear emotion) and nuisance
(instrument, genre, key), which is independent of the wording. Templates have no article before a slot,
because "a" or "an" would give information about the next word.
"""

import re
from dataclasses import dataclass

import numpy as np

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError, must, nearest
from moodlens.prompts.factors import Factors, Poles, poles_of
from moodlens.prompts.lexicon import AFFECT, BPM_WORDS, FACTOR_WORDS, GENRES, INSTRUMENTS, KEYS
from moodlens.prompts.words import MOODS, SCENES, TERMS

TEMPLATES = {
    "generic": (
        "{wording} {instrument} piece",
        "{wording} {genre} music with {instrument}",
        "play something {wording} on {instrument}",
        "i feel {wording}, {instrument} in {key}",
        "{genre} song, {wording}, key of {key}",
        "{instrument} music that sounds {wording}",
    ),
    "scenes": (
        "{instrument} music for {wording}",
        "{wording}, {genre} soundtrack",
        "{genre} piece about {wording}",
        "{wording}, {instrument} in {key}",
        "{genre} {instrument} track for {wording}",
        "music for {wording}, key of {key}",
    ),
    "descriptive": (
        "{wording} {instrument} tune",
        "{instrument} track, {wording}",
        "{genre} music, {wording}",
        "{instrument} in {key}, {wording}",
        "{genre} {instrument} piece marked {wording}",
        "{wording}, {genre} tune in {key}",
    ),
    "neutral": (
        "{instrument} piece",
        "{genre} music with {instrument}",
        "play something on {instrument}",
        "{instrument} in {key}",
        "{genre} song, key of {key}",
        "{genre} {instrument} track",
    ),
    "factors": (
        "{tempo} {loudness} {brightness} {instrument} piece in {mode}",
        "{instrument} in {key} {mode}, {tempo}, {loudness} and {brightness}",
        "{loudness} {tempo} {instrument} music, {mode} key, {brightness}",
        "{brightness} and {loudness} {genre} music with {instrument}, {tempo}, in {mode}",
        "{instrument} track at {bpm} bpm, {tempo}, {brightness}, {loudness}, {mode} key",
    ),
}
SETS = tuple(TEMPLATES)
WORDINGS = {"generic": MOODS, "scenes": SCENES, "descriptive": TERMS}
EMOTION_SETS = tuple(WORDINGS)

EMOTION_PIECE_SETS = {"generic": 0.45, "scenes": 0.22, "descriptive": 0.23, "neutral": 0.10}
FACTOR_PIECE_SETS = {"factors": 0.92, "neutral": 0.08}
"""Probability of each set for a training caption, of a piece with an emotion and of a factor piece."""

POLES = (("slow", "fast"), ("soft", "loud"), ("dark", "bright"), ("major", "minor"))
REQUESTED_BPM = {"slow": (60, 70), "fast": (120, 150, 170)}
"""The values that a prompt may request: the poles of each factor, and tempos. The tempos are those of the
composer's factor pieces, rounded to tens."""


@dataclass(frozen=True)
class Nuisance:
    """The content of a caption beside emotion."""

    instrument: str
    genre: str
    key: str  # name of the tonic


@dataclass(frozen=True)
class Caption:
    """One text with its set, template, wording and labels."""

    text: str  # lower case
    set: str  # one of SETS
    template: str  # with its slots
    wording: str  # the words that bear emotion; for `factors` the four poles; empty for `neutral`
    emotion: str | None  # one of EMOTIONS
    valence: float | None  # [-1, 1]
    arousal: float | None  # [-1, 1]


def wordings(set_name: str, emotion: str) -> tuple[str, ...]:
    """Return every wording of an emotion in a set.

    Raises:
        UsageError: the set bears no emotion, or the emotion is unknown.
    """
    if emotion not in EMOTIONS:
        advice = nearest(emotion, list(EMOTIONS))
        raise UsageError(must("emotion", "be one of the five emotions", emotion, next_step=advice))
    if set_name not in WORDINGS:
        advice = nearest(set_name, list(EMOTION_SETS))
        raise UsageError(must("prompt set", "bear emotion", set_name, next_step=advice))
    return WORDINGS[set_name][emotion]


def fill(template: str, wording: str, nuisance: Nuisance) -> str:
    """Return the text of a template with the wording and the nuisance words in its slots.

    >>> fill("{wording} {instrument} piece", "sad", Nuisance("flute", "folk", "c"))
    'sad flute piece'
    """
    return template.format(
        wording=wording, instrument=nuisance.instrument, genre=nuisance.genre, key=nuisance.key
    )


NEUTRAL_TEMPLATES = {
    "{wording} {instrument} piece": "{instrument} piece",
    "{wording} {genre} music with {instrument}": "{genre} music with {instrument}",
    "play something {wording} on {instrument}": "play something on {instrument}",
    "i feel {wording}, {instrument} in {key}": "{instrument} in {key}",
    "{genre} song, {wording}, key of {key}": "{genre} song, key of {key}",
    "{instrument} music that sounds {wording}": "{instrument} piece",
    "{instrument} music for {wording}": "{instrument} piece",
    "{wording}, {genre} soundtrack": "{genre} soundtrack",
    "{genre} piece about {wording}": "{genre} piece",
    "{wording}, {instrument} in {key}": "{instrument} in {key}",
    "{genre} {instrument} track for {wording}": "{genre} {instrument} track",
    "music for {wording}, key of {key}": "music, key of {key}",
    "{wording} {instrument} tune": "{instrument} tune",
    "{instrument} track, {wording}": "{instrument} track",
    "{genre} music, {wording}": "{genre} music",
    "{instrument} in {key}, {wording}": "{instrument} in {key}",
    "{genre} {instrument} piece marked {wording}": "{genre} {instrument} piece",
    "{wording}, {genre} tune in {key}": "{genre} tune in {key}",
}
"""Each template with an emotional wording, and the template that names the same nuisance and no emotion."""


def neutral_text(template: str, text: str, wording: str) -> str | None:
    """Return what remains of a prompt without its wording, or None where its template is not of the grammar.

    >>> neutral_text("i feel {wording}, {instrument} in {key}", "i feel sad, flute in c", "sad")
    'flute in c'
    """
    if template not in NEUTRAL_TEMPLATES:
        return None
    parts = re.split(r"\{(\w+)\}", template)
    fills = {"instrument": INSTRUMENTS, "genre": GENRES, "key": tuple(KEYS.values()), "wording": (wording,)}
    pattern = "".join(
        f"(?P<{part}>{'|'.join(map(re.escape, fills[part]))})" if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    )
    found = re.fullmatch(pattern, text)
    return None if found is None else NEUTRAL_TEMPLATES[template].format(**found.groupdict())


def draw_nuisance(rng: np.random.Generator) -> Nuisance:
    """Return an instrument, a genre and a key, drawn uniformly."""
    instrument, genre, key = (str(rng.choice(words)) for words in (INSTRUMENTS, GENRES, list(KEYS.values())))
    return Nuisance(instrument, genre, key)


def caption(
    rng: np.random.Generator,
    set_name: str,
    emotion: str | None,
    nuisance: Nuisance,
    template: str | None = None,
) -> Caption:
    """Return a caption of an emotion, with valence and arousal of the emotion's centre.

    The wording, and the template if none is given, are drawn by `rng`. `neutral` and `factors` need no
    emotion; the poles of a `factors` caption are drawn uniformly.

    Raises:
        UsageError: unknown set or emotion, or an emotional set without an emotion.
    """
    template = template or _draw(rng, templates_of(set_name))
    if set_name in EMOTION_SETS:
        wording = _draw(rng, wordings(set_name, str(emotion)))
        valence, arousal = AFFECT[str(emotion)]
        text = fill(template, wording, nuisance)
        return Caption(text, set_name, template, wording, emotion, valence, arousal)
    if set_name == "factors":
        poles = Poles(*(_draw(rng, pair) for pair in POLES))
        bpm = rng.choice(REQUESTED_BPM[poles.tempo])
        text = fill_factors(rng, template, poles, float(bpm), nuisance)
        return Caption(text, set_name, template, poles.wording, None, None, None)
    text = fill(template, "", nuisance)
    return Caption(text, set_name, template, "", None, None, None)


def caption_for(rng: np.random.Generator, factors: Factors) -> Caption:
    """Return a training caption that is true of a piece, except for genre words, which have no meaning."""
    return _caption_of(rng, factors, _nuisance_of(rng, factors))


def repaired_caption(rng: np.random.Generator, factors: Factors, donor: Factors) -> Caption:
    """Return a caption with the nuisance words of the piece and everything else of `donor`.

    Everything else is the kind of caption, emotion, tempo, dynamics, brightness and mode. With donors drawn
    at random from the corpus, the text carries no information about the music beyond instrument and key.
    """
    return _caption_of(rng, donor, _nuisance_of(rng, factors))


def vocabulary() -> tuple[str, ...]:
    """Return every word and punctuation mark that a caption can contain, lower case, sorted."""
    texts = [re.sub(r"\{\w+\}", " ", template) for group in TEMPLATES.values() for template in group]
    for words in (*WORDINGS.values(), FACTOR_WORDS):
        texts += [word for row in words.values() for word in row]
    texts += [*INSTRUMENTS, *GENRES, *KEYS.values(), *BPM_WORDS]
    return tuple(sorted({piece for text in texts for piece in pieces(text)}))


def pieces(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, lower case.

    >>> pieces("Sad flute, in c")
    ['sad', 'flute', ',', 'in', 'c']
    """
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())


def templates_of(set_name: str) -> tuple[str, ...]:
    """Return the templates of a set; UsageError for an unknown one."""
    if set_name not in TEMPLATES:
        advice = nearest(set_name, list(SETS))
        raise UsageError(must("prompt set", "be a set of the grammar", set_name, next_step=advice))
    return TEMPLATES[set_name]


def _draw(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[rng.integers(len(options))]


def _nuisance_of(rng: np.random.Generator, factors: Factors) -> Nuisance:
    return Nuisance(factors.instrument, _draw(rng, GENRES), KEYS[factors.key])


def _caption_of(rng: np.random.Generator, factors: Factors, nuisance: Nuisance) -> Caption:
    shares = EMOTION_PIECE_SETS if factors.emotion else FACTOR_PIECE_SETS
    set_name = str(rng.choice(list(shares), p=list(shares.values())))
    template = _draw(rng, TEMPLATES[set_name])
    labels = (factors.emotion, factors.valence, factors.arousal)
    if set_name == "factors":
        poles = poles_of(factors)
        text = fill_factors(rng, template, poles, factors.bpm, nuisance)
        return Caption(text, set_name, template, poles.wording, *labels)
    wording = _draw(rng, wordings(set_name, str(factors.emotion))) if set_name in EMOTION_SETS else ""
    return Caption(fill(template, wording, nuisance), set_name, template, wording, *labels)


def fill_factors(
    rng: np.random.Generator, template: str, poles: Poles, bpm: float, nuisance: Nuisance
) -> str:
    """Return the text of a `factors` template; `rng` draws the word of each pole, bpm is rounded to tens."""
    return template.format(
        tempo=_draw(rng, FACTOR_WORDS[poles.tempo]),
        loudness=_draw(rng, FACTOR_WORDS[poles.loudness]),
        brightness=_draw(rng, FACTOR_WORDS[poles.brightness]),
        mode=poles.mode,
        bpm=10 * round(bpm / 10),
        instrument=nuisance.instrument,
        genre=nuisance.genre,
        key=nuisance.key,
    )
