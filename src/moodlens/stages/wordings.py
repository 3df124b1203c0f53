"""Whole wordings as the units of a test: who they are, and resamples of them."""

import numpy as np

from moodlens.base.errors import ContractError, must
from moodlens.stats.bootstrap import resamples
from moodlens.stats.design import Design


def wording_labels(design: Design) -> np.ndarray:
    """Return the emotion of every wording, (wording,).

    Raises:
        ContractError: an emotion has a single wording, so that nothing varies within it.
    """
    labels = design.unit_labels("wording")
    counts = np.bincount(labels, minlength=design.n_classes)
    if counts.min() < 2:
        name = design.emotions[int(counts.argmin())]
        advice = "Raise prompts.n_per_emotion: prompts that share their words are one unit here"
        raise ContractError(must(f"emotion '{name}'", "have at least 2 wordings", 1, next_step=advice))
    return labels


def wording_resamples(design: Design, n_bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each wording occurs in each resample, (boot, wording)."""
    _, first = np.unique(design.members("wording"), return_index=True)
    return resamples(design, "wording", n_bootstrap, rng)[:, first]
