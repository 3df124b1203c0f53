"""Several hundred diverse prompts for a text-side SAE: synonyms, scenes without emotion words, intensities.

An SAE needs more texts than an experiment can generate music for. These texts go through the text encoder
only. They share templates and wordings with the prompts of an experiment (`prompts.grammar`), so a wording is
held out of both or of none. The words of `SYNONYMS` and `ADVERBS` are not in the organism's vocabulary: it
spells them; a pretrained T5 knows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import rng_for
from moodlens.prompts.grammar import draw_nuisance, fill, templates_of, wordings
from moodlens.prompts.lexicon import AFFECT

SYNONYMS = {
    "happy": ("gleeful", "blissful", "elated", "radiant"),
    "sad": ("dejected", "woeful", "despondent", "forlorn"),
    "calm": ("mellow", "gentle", "untroubled", "hushed"),
    "energetic": ("spirited", "electrifying", "explosive", "zestful"),
    "angry": ("wrathful", "incensed", "seething", "livid"),
}
"""Mood words outside the grammar, four per emotion; none belongs to two emotions."""

ADVERBS = ("slightly", "very")
INTENSITIES = {"slightly": 0.5, "": 1.0, "very": 1.5}
"""Adverb -> factor on valence and arousal, which are clipped to [-1, 1]."""

SET_OF = {"synonyms": "generic", "scenes": "scenes", "descriptive": "descriptive", "intensity": "generic"}
"""Family -> the prompt set of its templates and wordings."""
N_WORDINGS = {"synonyms": 20, "scenes": 32, "descriptive": 18, "intensity": 16}
"""Wordings per emotion in each family, drawn by the seed from those of the grammar. `synonyms` adds SYNONYMS.
Each gives one text, in `intensity` one text per adverb."""
N_NEUTRAL = 36
FAMILIES = ("synonyms", "scenes", "descriptive", "intensity", "neutral")
DRAWS_PER_TEMPLATE = 200  # draws without a new text, after which a template counts as exhausted


@dataclass(frozen=True)
class DiversePrompt:
    """One text with its labels."""

    text: str  # lower case
    family: str  # one of FAMILIES
    template: str
    wording: str  # the words that bear emotion, without the adverb; empty if neutral
    adverb: str  # slightly | very | ""
    emotion: str | None
    valence: float | None  # [-1, 1], valence of the emotion's centre times the adverb's factor
    arousal: float | None  # [-1, 1], likewise


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
    prompts = [prompt for emotion in emotions for prompt in _of_emotion(emotion, seed, seen)]
    draws = _Draws(seed, "neutral", seen)
    for _ in range(N_NEUTRAL):
        template, text = draws.any_of(templates_of("neutral"), "")
        prompts.append(DiversePrompt(text, "neutral", template, "", "", None, None, None))
    return prompts


def _of_emotion(emotion: str, seed: int, seen: set[str]) -> list[DiversePrompt]:
    """Return the four families of one emotion; adjacent texts have different templates."""
    draws = _Draws(seed, emotion, seen)
    requests = [("synonyms", word, "") for word in SYNONYMS[emotion]]
    for family, n in N_WORDINGS.items():
        # an adverb before a scene has no meaning, so adverbs go with mood words only
        adverbs = ADVERBS if family == "intensity" else ("",)
        chosen = draws.rng.permutation(list(wordings(SET_OF[family], emotion)))[:n]
        requests += [(family, str(word), adverb) for word in chosen for adverb in adverbs]
    prompts = []
    for family, wording, adverb in requests:
        templates = templates_of(SET_OF[family])
        at = len(prompts) % len(templates)
        words = f"{adverb} {wording}" if adverb else wording
        template, text = draws.any_of(templates[at:] + templates[:at], words)
        valence, arousal = (max(-1.0, min(1.0, INTENSITIES[adverb] * value)) for value in AFFECT[emotion])
        prompts.append(DiversePrompt(text, family, template, wording, adverb, emotion, valence, arousal))
    return prompts


class _Draws:
    """A stream of texts with random nuisance words, all distinct from those in `seen`."""

    def __init__(self, seed: int, name: str, seen: set[str]) -> None:
        self.rng, self.seen = rng_for("diverse", seed, name), seen

    def any_of(self, templates: Sequence[str], wording: str) -> tuple[str, str]:
        """Return the first template that still has a new text, and that text."""
        for template in templates:
            for _ in range(DRAWS_PER_TEMPLATE):
                text = fill(template, wording, draw_nuisance(self.rng))
                if text not in self.seen:
                    self.seen.add(text)
                    return template, text
        raise AssertionError(f"{templates} have too few distinct texts of {wording!r}")
