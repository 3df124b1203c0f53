"""Some hundred diverse prompts for a text-side SAE: synonyms, scenes without emotion words, intensities.

An SAE wants more texts than an experiment can generate music for. These are only read by the text encoder.
They share templates and wordings with the prompts of an experiment (`prompts.grammar`), so a wording is held
out of both or of none. The words of `SYNONYMS` and `SLIGHTLY` are not in the organism's vocabulary: it spells
them, a real T5 knows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import rng_for
from moodlens.prompts.grammar import draw_nuisance, fill, templates_of, wordings
from moodlens.prompts.lexicon import AFFECT, MOODS

SYNONYMS = {
    "happy": ("gleeful", "blissful", "elated", "radiant"),
    "sad": ("dejected", "woeful", "despondent", "forlorn"),
    "calm": ("mellow", "gentle", "untroubled", "hushed"),
    "energetic": ("spirited", "electrifying", "explosive", "zestful"),
    "angry": ("wrathful", "incensed", "seething", "livid"),
}
"""Mood words outside the grammar, four per emotion; none stands under two emotions."""

SLIGHTLY, VERY = ADVERBS = ("slightly", "very")
INTENSITIES = {SLIGHTLY: 0.5, "": 1.0, VERY: 1.5}
"""How an adverb scales valence and arousal, clipped to [-1, 1]."""

REPEATS = {"synonyms": 2, "scenes": 4, "descriptive": 2, "intensity": 1}
"""Texts per wording (and adverb) in each set."""
N_NEUTRAL = 36
FAMILIES = ("synonyms", "scenes", "descriptive", "intensity", "neutral")
DRAWS_PER_TEMPLATE = 200  # before a template counts as exhausted


@dataclass(frozen=True)
class DiversePrompt:
    """One text and what it says."""

    text: str  # lower case
    family: str  # one of FAMILIES
    template: str
    wording: str  # the emotion-bearing words without the adverb; empty if neutral
    adverb: str  # slightly | very | ""
    emotion: str | None
    valence: float | None  # [-1, 1], of the emotion's centre times the adverb's share
    arousal: float | None  # likewise


def diverse_prompts(emotions: Sequence[str], seed: int) -> list[DiversePrompt]:
    """Return the prompts, emotion after emotion, neutral ones last; every text is distinct.

    106 per emotion and 36 neutral: four emotions give 460.

    Raises:
        UsageError: there is no emotion.

    >>> prompts = diverse_prompts(("happy", "sad", "calm", "energetic"), seed=0)
    >>> len(prompts), len({prompt.text for prompt in prompts})
    (460, 460)
    """
    if not emotions:
        raise UsageError(must("the emotions", "be at least one", "none", next_step="Add one"))
    seen: set[str] = set()
    found = [prompt for emotion in emotions for prompt in _of_emotion(emotion, seed, seen)]
    draws = _Draws(seed, "neutral", seen)
    for _ in range(N_NEUTRAL):
        template, text = draws.any_of(templates_of("neutral"), "neutral", "")
        found.append(DiversePrompt(text, "neutral", template, "", "", None, None, None))
    return found


def _of_emotion(emotion: str, seed: int, seen: set[str]) -> list[DiversePrompt]:
    """The four families of one emotion; neighbouring texts of a wording have different templates."""
    asked = [("synonyms", "generic", word, "") for word in (*MOODS[emotion], *SYNONYMS[emotion])]
    asked += [("scenes", "scenes", scene, "") for scene in wordings("scenes", emotion)]
    asked += [("descriptive", "descriptive", terms, "") for terms in wordings("descriptive", emotion)]
    # an adverb before a scene would say nothing, so intensities are said of mood words, twice each
    for _ in range(2):
        asked += [("intensity", "generic", word, adverb) for word in MOODS[emotion] for adverb in ADVERBS]
    found = []
    draws = _Draws(seed, emotion, seen)
    for family, set_name, wording, adverb in asked:
        templates = templates_of(set_name)
        for _ in range(REPEATS[family]):
            at = len(found) % len(templates)
            said = f"{adverb} {wording}" if adverb else wording
            template, text = draws.any_of(templates[at:] + templates[:at], set_name, said)
            scale = INTENSITIES[adverb]
            valence, arousal = (max(-1.0, min(1.0, scale * value)) for value in AFFECT[emotion])
            found.append(DiversePrompt(text, family, template, wording, adverb, emotion, valence, arousal))
    return found


class _Draws:
    """Texts with nuisance words of their own, none of them seen before."""

    def __init__(self, seed: int, name: str, seen: set[str]) -> None:
        self.rng, self.seen = rng_for("diverse", seed, name), seen

    def any_of(self, templates: Sequence[str], set_name: str, wording: str) -> tuple[str, str]:
        """Return a template and a new text of it: the first template that still has one."""
        for template in templates:
            for _ in range(DRAWS_PER_TEMPLATE):
                text = fill(template, set_name, wording, draw_nuisance(self.rng))
                if text not in self.seen:
                    self.seen.add(text)
                    return template, text
        raise AssertionError(f"the templates of {set_name!r} have too few distinct texts")
