"""Synthetic sites whose truth is known: prompts, clips that resemble each other, an effect of known size."""

from dataclasses import replace

import numpy as np

from moodlens.stats.design import Design, design_of
from moodlens.stats.gram import SiteGram, site_gram

EMOTIONS = ("happy", "sad", "calm", "energetic")


def design(*sizes: int, per_wording: int = 1) -> Design:
    """Return a design with these numbers of prompts per emotion, `per_wording` prompts to a wording."""
    rows = [(e, i) for e, n in zip(EMOTIONS, sizes, strict=False) for i in range(n)]
    return design_of(
        [f"{e}-{i}" for e, i in rows], [e for e, _ in rows], [f"{e}{i // per_wording}" for e, i in rows]
    )


def in_pairs(n: int) -> Design:
    """Return two emotions of n prompts in n slots: 2^n labellings, of which two are always alike."""
    return replace(design(n, n), strata=np.tile(np.arange(n), 2))


def sites(
    made: Design,
    rng: np.random.Generator,
    *,
    n_layers: int = 1,
    width: int = 64,
    n_clips: int = 2,
    icc: float = 0.3,
    share: float = 0.0,
    layer: int = 0,
    wording: float = 0.0,
) -> list[SiteGram]:
    """Return layers of clips with a power-law spectrum around a common mean.

    Args:
        icc: share of variance that clips of one prompt have in common.
        share: of the variance, held by emotion in `layer`.
        wording: of the prompt's variance, held in common by prompts of one wording.
    """
    scale = np.arange(1, width + 1) ** -0.5
    prompts = np.repeat(np.arange(made.n_prompts), n_clips)
    found = []
    for index in range(n_layers):
        own = rng.normal(size=(made.n_prompts, width))
        common = rng.normal(size=(made.wordings.max() + 1, width))[made.wordings]
        prompt = np.sqrt(wording) * common + np.sqrt(1 - wording) * own
        noise = rng.normal(size=(len(prompts), width))
        rows = (np.sqrt(icc) * prompt[prompts] + np.sqrt(1 - icc) * noise) * scale
        if share and index == layer:
            means = (rng.normal(size=(made.n_classes, width)) * scale)[made.labels[prompts]]
            means -= means.mean(axis=0)
            rows += means * np.sqrt(share / (1 - share) * (rows**2).sum() / (means**2).sum())
        found.append(site_gram(f"residual.{index}", rows + 3.0, prompts))
    return found
