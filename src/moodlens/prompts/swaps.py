"""Whose text a clip gets under swapped text: a prompt of another emotion, dealt evenly."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from moodlens.base.errors import ContractError, must


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
