"""The design of a prompt list: emotion crossed with templates and nuisance, wordings repeated in pairs.

Slot i of a set has the same template, instrument, genre and key for every emotion, so emotion is confounded
with none of them. Each wording is used `REPEATS` times where the words suffice: a probe whose folds leave out
prompts has then met the words of the prompt it is tested on (the rung *words*), one whose folds leave out
wordings has not (the rung *text code*).

Whose text a clip gets under swapped text: a prompt of another emotion, dealt evenly.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for
from moodlens.prompts.grammar import (
    EMOTION_SETS,
    Caption,
    caption,
    draw_nuisance,
    fill,
    templates_of,
    wordings,
)
from moodlens.prompts.lexicon import AFFECT

REPEATS = 2
MAX_DRAWS = 1000  # without a new text, before a set or a slot counts as exhausted


def design(emotions: Sequence[str], n_per_emotion: int, sets: Sequence[str], seed: int) -> list[Caption]:
    """Return the prompts, emotion after emotion; every text is distinct.

    Emotional sets share n_per_emotion as evenly as whole prompts allow (the first sets get one more);
    `neutral` and `factors` add n_per_emotion prompts each, without an emotion.

    Raises:
        UsageError: unknown set or emotion.
        ContractError: a set has fewer distinct texts than asked for.
    """
    felt = [name for name in sets if name in EMOTION_SETS]
    share = {
        name: n_per_emotion // len(felt) + (i < n_per_emotion % len(felt)) for i, name in enumerate(felt)
    }
    by_emotion: dict[str, list[Caption]] = {emotion: [] for emotion in emotions}
    for name in felt:
        for emotion, found in _emotional(name, emotions, share[name], seed).items():
            by_emotion[emotion] += found
    prompts = [prompt for found in by_emotion.values() for prompt in found]
    for name in sets:
        if name not in EMOTION_SETS:
            prompts += _unfelt(name, n_per_emotion, seed)
    return prompts


def _emotional(name: str, emotions: Sequence[str], n: int, seed: int) -> dict[str, list[Caption]]:
    rng = rng_for("design", seed, name)
    templates = rng.permutation(list(templates_of(name)))
    words = {
        emotion: _spread(rng_for("design", seed, name, emotion), wordings(name, emotion), n)
        for emotion in emotions
    }
    out: dict[str, list[Caption]] = {emotion: [] for emotion in emotions}
    seen: set[str] = set()
    for slot in range(n):
        template = str(templates[slot % len(templates)])
        for _ in range(MAX_DRAWS):
            nuisance = draw_nuisance(rng)
            texts = [fill(template, name, words[emotion][slot], nuisance) for emotion in emotions]
            if seen.isdisjoint(texts) and len(set(texts)) == len(texts):
                break
        else:
            raise _exhausted(name, n)
        seen.update(texts)
        for emotion, text in zip(emotions, texts, strict=True):
            out[emotion].append(
                Caption(text, name, template, words[emotion][slot], emotion, *AFFECT[emotion])
            )
    return out


def _spread(rng: np.random.Generator, options: Sequence[str], n: int) -> list[str]:
    """Return n wordings, each REPEATS times in neighbouring slots (neighbours have different templates)."""
    n_words = min(len(options), -(-n // REPEATS))
    chosen = [str(word) for word in rng.permutation(list(options))[:n_words]]
    repeats = [n // n_words + (i < n % n_words) for i in range(n_words)]
    return [word for word, count in zip(chosen, repeats, strict=True) for _ in range(count)]


def _unfelt(name: str, n: int, seed: int) -> list[Caption]:
    rng = rng_for("design", seed, name)
    templates = templates_of(name)
    found: dict[str, Caption] = {}
    n_idle = 0
    while len(found) < n:
        if n_idle == MAX_DRAWS:
            raise _exhausted(name, n)
        drawn = caption(rng, name, None, draw_nuisance(rng), templates[len(found) % len(templates)])
        n_idle = n_idle + 1 if drawn.text in found else 0
        found.setdefault(drawn.text, drawn)
    return list(found.values())


def _exhausted(name: str, n: int) -> ContractError:
    advice = "Lower prompts.n_per_emotion or add prompt sets"
    return ContractError(
        must(f"prompt set '{name}'", f"have {n} distinct texts per emotion", "fewer", next_step=advice)
    )


def swapped_prompts(
    clip_emotions: Sequence[str],
    prompt_emotions: Sequence[str],
    rng: np.random.Generator,
    *,
    without: Sequence[str] = (),
) -> Int[np.ndarray, " clip"]:
    """Return for every clip the index of the prompt whose text it gets; never of the clip's own emotion.

    The clips of one emotion are dealt in random order to the other emotions in turn, and those of one such
    pair to the prompts in turn: counts of pairs differ by at most 1, and so do those of prompts in a pair.

    Args:
        clip_emotions: emotion of each clip.
        prompt_emotions: emotion of each prompt.
        rng: source of the order.
        without: labels whose prompts are never given (neutral prompts intend no emotion).

    Raises:
        ContractError: there is no prompt of another emotion.
    """
    emotions = sorted(set(prompt_emotions) - set(without))
    pools = {e: rng.permutation([i for i, p in enumerate(prompt_emotions) if p == e]) for e in emotions}
    found = np.empty(len(clip_emotions), dtype=np.int64)
    for emotion in sorted(set(clip_emotions)):
        others = [other for other in emotions if other != emotion]
        if not others:
            rule, advice = "have prompts of another emotion", "Add an emotion to prompts.emotions"
            raise ContractError(must(f"clips of '{emotion}'", rule, "none", next_step=advice))
        clips = rng.permutation([i for i, c in enumerate(clip_emotions) if c == emotion])
        start = int(rng.integers(len(others)))
        for turn, clip in enumerate(clips):
            pool = pools[others[(start + turn) % len(others)]]
            found[clip] = pool[(start + turn // len(others)) % len(pool)]
    return found
