"""A latent in words that its evidence gives: what it fires on, what it goes along with. Nothing imagined."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from moodlens.latents.correlates import Correlations

N_WORDS = 3
SPOKEN = {",": "comma", "▁": "space"}


def token_shares(
    values: Float[np.ndarray, " row"], tokens: Sequence[str], n: int = N_WORDS
) -> list[tuple[str, float]]:
    """Return the tokens that carry most of a latent's activation, with their share of it.

    >>> token_shares(np.array([3.0, 0.0, 1.0]), ["▁sad", "▁flute", "▁sad"])
    [('sad', 1.0)]
    """
    sums: dict[str, float] = defaultdict(float)
    for value, token in zip(values, tokens, strict=True):
        if value > 0:
            sums[SPOKEN.get(token, token).lstrip("▁")] += float(value)
    total = sum(sums.values())
    return [(token, value / total) for token, value in sorted(sums.items(), key=lambda kv: -kv[1])[:n]]


def word_lift(
    pooled: Float[np.ndarray, " prompt"], bags: Sequence[frozenset[str]], n: int = N_WORDS, least: int = 2
) -> list[tuple[str, float]]:
    """Return the prompt words whose prompts activate a latent most, as a multiple of its mean over prompts.

    Words of fewer than `least` prompts, or of all, say nothing and are left out.

    >>> bags = [frozenset({"sad", "piece"}), frozenset({"sad", "piece"}), frozenset({"piece"})]
    >>> word_lift(np.array([3.0, 3.0, 0.0]), bags)
    [('sad', 1.5)]
    """
    mean = float(pooled.mean())
    if mean <= 0:
        return []
    lifts = []
    for word in sorted({word for bag in bags for word in bag}):
        has = np.array([word in bag for bag in bags])
        if least <= has.sum() < len(bags):
            lifts.append((word, float(pooled[has].mean()) / mean))
    return [entry for entry in sorted(lifts, key=lambda kv: -kv[1])[:n] if entry[1] > 1]


def description(emotion: str, words: str, found: Correlations | None, unit: int, fdr: float) -> str:
    """Return a line of evidence: emotion, words as `shares_said` or `lifts_said`, descriptors where q < fdr.

    >>> description("sad", shares_said([("tearful", 0.8)]), None, 0, 0.05)
    'sad; tearful 80 %'
    """
    parts = [emotion, words]
    if found is not None:
        sure = np.flatnonzero(found.q[unit] < fdr)
        order = sure[np.argsort(-np.abs(found.r[unit, sure]))][:2]
        parts.append(", ".join(f"{found.names[i]} r {found.r[unit, i]:+.2f}" for i in order))
    return "; ".join(part for part in parts if part)


def shares_said(words: Sequence[tuple[str, float]]) -> str:
    """Return tokens with their share of a latent's activation.

    >>> shares_said([("sad", 0.75), ("a", 0.25)])
    'sad 75 %, a 25 %'
    """
    return ", ".join(f"{word} {share:.0%}".replace("%", " %") for word, share in words)


def lifts_said(words: Sequence[tuple[str, float]]) -> str:
    """Return words with the multiple of a latent's mean that their prompts reach.

    >>> lifts_said([("rain", 5.25)])
    'rain x5.2'
    """
    return ", ".join(f"{word} x{lift:.1f}" for word, lift in words)
