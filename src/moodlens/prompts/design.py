"""Experimental designs: the prompts of an experiment, and the prompts that clips get under swapped text.

`design` crosses emotion with templates and nuisance: slot i of a set has the same template, instrument, genre
and key for every emotion, so that emotion is confounded with none of them. Each wording is used `REPEATS`
times where there are enough words. A probe whose folds leave out prompts is then trained on the words of its
test prompts (the check of the words); one whose folds leave out wordings is not (the rung *text code*).

`swapped_prompts` assigns to each clip a prompt of another emotion, in equal shares.
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
MAX_DRAWS = 1000  # draws without a new text, after which a set or a slot counts as exhausted


def split_evenly(total: int, n_parts: int) -> list[int]:
    """Return `total` as `n_parts` whole numbers that differ by at most one, the larger ones first.

    >>> split_evenly(16, 3)
    [6, 5, 5]
    """
    return [total // n_parts + (part < total % n_parts) for part in range(n_parts)]


def design(emotions: Sequence[str], n_per_emotion: int, sets: Sequence[str], seed: int) -> list[Caption]:
    """Return the prompts, emotion after emotion; every text is distinct.

    The emotional sets share n_per_emotion evenly (`split_evenly`). `neutral` and `factors` add n_per_emotion
    prompts each, without an emotion.

    Raises:
        UsageError: unknown set or emotion.
        ContractError: a set has fewer distinct texts than requested.
    """
    emotional = [name for name in sets if name in EMOTION_SETS]
    by_emotion: dict[str, list[Caption]] = {emotion: [] for emotion in emotions}
    for name, n in zip(emotional, split_evenly(n_per_emotion, len(emotional)), strict=True):
        for emotion, captions in _with_emotion(name, emotions, n, seed).items():
            by_emotion[emotion] += captions
    prompts = [prompt for captions in by_emotion.values() for prompt in captions]
    for name in sets:
        if name not in EMOTION_SETS:
            prompts += _without_emotion(name, n_per_emotion, seed)
    return prompts


def _with_emotion(name: str, emotions: Sequence[str], n: int, seed: int) -> dict[str, list[Caption]]:
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
            texts = [fill(template, words[emotion][slot], nuisance) for emotion in emotions]
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
    """Return n wordings, each REPEATS times in adjacent slots, which have different templates."""
    n_words = min(len(options), -(-n // REPEATS))
    chosen = [str(word) for word in rng.permutation(list(options))[:n_words]]
    repeats = split_evenly(n, n_words)
    return [word for word, count in zip(chosen, repeats, strict=True) for _ in range(count)]


def _without_emotion(name: str, n: int, seed: int) -> list[Caption]:
    rng = rng_for("design", seed, name)
    templates = templates_of(name)
    by_text: dict[str, Caption] = {}
    n_repeated = 0
    while len(by_text) < n:
        if n_repeated == MAX_DRAWS:
            raise _exhausted(name, n)
        drawn = caption(rng, name, None, draw_nuisance(rng), templates[len(by_text) % len(templates)])
        n_repeated = n_repeated + 1 if drawn.text in by_text else 0
        by_text.setdefault(drawn.text, drawn)
    return list(by_text.values())


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
    """Return for every clip the index of the prompt whose text it gets, of another emotion than the clip's.

    The clips of one emotion are assigned in random order to the other emotions in turn, and the clips of each
    pair of emotions to its prompts in turn. The counts of pairs differ by at most 1, and so do the counts of
    prompts within a pair.

    Args:
        clip_emotions: emotion of each clip.
        prompt_emotions: emotion of each prompt.
        rng: source of the order.
        without: labels whose prompts are never assigned (neutral prompts have no emotion).

    Raises:
        ContractError: there is no prompt of another emotion.
    """
    emotions = sorted(set(prompt_emotions) - set(without))
    pools = {e: rng.permutation([i for i, p in enumerate(prompt_emotions) if p == e]) for e in emotions}
    prompt_of = np.empty(len(clip_emotions), dtype=np.int64)
    for emotion in sorted(set(clip_emotions)):
        others = [other for other in emotions if other != emotion]
        if not others:
            rule, advice = "have prompts of another emotion", "Add an emotion to prompts.emotions"
            raise ContractError(must(f"clips of '{emotion}'", rule, "none", next_step=advice))
        clips = rng.permutation([i for i, c in enumerate(clip_emotions) if c == emotion])
        start = int(rng.integers(len(others)))
        for turn, clip in enumerate(clips):
            pool = pools[others[(start + turn) % len(others)]]
            prompt_of[clip] = pool[(start + turn // len(others)) % len(pool)]
    return prompt_of
