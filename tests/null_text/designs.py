"""Small designs and Gram matrices for the tests of `state`."""

import numpy as np

from moodlens.stats.design import Design, design_of
from moodlens.stats.gram import prompt_grams, site_gram

EMOTIONS = ("happy", "sad", "calm", "energetic")


def design(n_wordings: int = 9, per_wording: int = 2) -> Design:
    names = [(e, w, j) for e in EMOTIONS for w in range(n_wordings) for j in range(per_wording)]
    ids, felt = [f"{e}{w}{j}" for e, w, j in names], [e for e, _, _ in names]
    return design_of(ids, felt, [f"{e}{w}" for e, w, _ in names])


def gram_of(rows: np.ndarray) -> np.ndarray:
    """Return the centred Gram matrix of prompts, mean diagonal 1."""
    return prompt_grams([site_gram("x", rows, np.arange(len(rows)))])[0]


def rows(
    found: Design, strength: float, rng: np.random.Generator, dim: int = 20, means: np.ndarray | None = None
) -> np.ndarray:
    """Return states with emotion means of the given size, and noise per wording and per prompt."""
    centres = rng.normal(size=(found.n_classes, dim)) if means is None else means
    n_units = int(found.wordings.max()) + 1
    return (
        strength * centres[found.labels]
        + rng.normal(size=(n_units, dim))[found.wordings]
        + rng.normal(size=(found.n_prompts, dim))
    )
