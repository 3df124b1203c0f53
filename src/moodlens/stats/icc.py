"""How much clips of one prompt resemble each other: the intraclass correlation of a site."""

import numpy as np
from jaxtyping import Int

from moodlens.stats.gram import SiteGram, centred, group_means


def prompt_icc(site: SiteGram, labels: Int[np.ndarray, " prompt"]) -> float | None:
    """Return the share of an emotion's variance that is the prompt's, or None with one clip each.

    ICC(1) = (MSP - MSC) / (MSP + (m - 1) MSC), MSP: mean square between prompts of one emotion, MSC: between
    clips of one prompt, m: clips per prompt (for unequal numbers the usual m0). Traces over all dimensions.

    Source: Shrout and Fleiss 1979, Intraclass correlations, ICC(1, 1).
    """
    counts = np.bincount(site.prompts)
    n_rows, n_prompts, n_classes = len(site.prompts), len(counts), len(np.unique(labels))
    if n_rows == n_prompts:
        return None
    gram = centred(site.values)
    squares = np.diag(gram).sum()
    by_prompt = float((np.diag(group_means(gram, site.prompts)) * counts).sum())
    row_labels = labels[site.prompts]
    by_emotion = float((np.diag(group_means(gram, row_labels)) * np.bincount(row_labels)).sum())
    clips = (squares - by_prompt) / (n_rows - n_prompts)
    prompts = (by_prompt - by_emotion) / (n_prompts - n_classes)
    m0 = (n_rows - (counts**2).sum() / n_rows) / (n_prompts - 1)
    whole = prompts + (m0 - 1) * clips
    return float((prompts - clips) / whole) if whole > 0 else None
