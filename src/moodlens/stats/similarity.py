"""Similarity within and between emotions, the same-prompt ceiling, and the intraclass correlation of prompts.

within    mean over pairs of clips of different prompts of one emotion
between   mean over pairs of clips of different emotions
ceiling   mean over pairs of different clips of one prompt
effect    within - between                          (the measure of the seed project, chance 0)
fraction  (within - between) / (ceiling - between)  (share of the noise ceiling)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as scipy_stats

from moodlens.stats.bootstrap import interval
from moodlens.stats.gram import SiteGram, centred, cosines, group_means, mean_weights, prompt_pairs


@dataclass(frozen=True)
class Effect:
    """Similarity of prompts of one emotion; cosines in -1..1, intervals by resampling prompts."""

    within: float
    between: float
    effect: float
    low: float
    high: float
    ceiling: float | None  # None with one clip per prompt
    fraction: float | None  # of the noise ceiling; None likewise, or where the ceiling is not above `between`


@dataclass(frozen=True)
class NaiveT:
    """The seed project's t-test over pairs of clips; descriptive only.

    Pairs share clips, and clips of one prompt resemble each other, so without any effect it reports p < .05
    in up to 100 % of datasets.
    """

    t: float
    p: float


def centred_cosines(site: SiteGram) -> Float[np.ndarray, "row row"]:
    """Return cosines of rows around the mean of the prompt means (anisotropy removed)."""
    return cosines(centred(site.values, mean_weights(site.prompts).mean(axis=0)))


def emotion_effect(
    similarity: Float[np.ndarray, "row row"],
    prompts: Int[np.ndarray, " row"],
    labels: Int[np.ndarray, " prompt"],
    counts: Int[np.ndarray, "boot prompt"],
    confidence: float,
) -> Effect:
    """Return within, between, effect and ceiling of one site.

    Args:
        similarity: cosines between rows (clips).
        prompts: prompt of each row.
        labels: emotion of each prompt.
        counts: bootstrap resamples, how often each prompt occurs.
        confidence: of the interval of the effect.
    """
    pairs = prompt_pairs(similarity, prompts)
    ones = np.ones((1, len(labels)), dtype=np.int64)
    within, between = within_between(pairs, labels, ones)
    draws = np.subtract(*within_between(pairs, labels, counts))
    low, high = interval(draws, confidence)
    ceiling = float(np.nanmean(np.diag(pairs))) if np.isfinite(np.diag(pairs)).any() else None
    effect = float((within - between)[0])
    room = None if ceiling is None else ceiling - float(between[0])
    fraction = effect / room if room is not None and room > 0 else None
    return Effect(float(within[0]), float(between[0]), effect, float(low), float(high), ceiling, fraction)


def within_between(
    pairs: Float[np.ndarray, "prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    counts: Int[np.ndarray, "boot prompt"],
) -> tuple[Float[np.ndarray, " boot"], Float[np.ndarray, " boot"]]:
    """Return the means over pairs of prompts; a prompt drawn twice is never paired with itself."""
    same = labels[:, None] == labels[None, :]
    alike = same & ~np.eye(len(labels), dtype=bool)
    weights = counts.astype(np.float64)
    values = np.where(np.eye(len(labels), dtype=bool), 0.0, pairs)

    def mean_over(mask: np.ndarray) -> np.ndarray:
        total = ((weights @ (values * mask)) * weights).sum(axis=1)
        size = ((weights @ mask.astype(np.float64)) * weights).sum(axis=1)
        return np.divide(total, size, out=np.full(len(size), np.nan), where=size > 0)

    return mean_over(alike), mean_over(~same)


def naive_t(
    similarity: Float[np.ndarray, "row row"],
    prompts: Int[np.ndarray, " row"],
    labels: Int[np.ndarray, " prompt"],
) -> NaiveT:
    """Return the seed project's `ttest_ind(within, between)` over all pairs of clips, also of one prompt."""
    rows, columns = np.triu_indices(len(prompts), 1)
    values = similarity[rows, columns]
    same = labels[prompts[rows]] == labels[prompts[columns]]
    result: Any = scipy_stats.ttest_ind(values[same], values[~same])
    return NaiveT(float(result.statistic), float(result.pvalue))


def prompt_icc(site: SiteGram, labels: Int[np.ndarray, " prompt"]) -> float | None:
    """Return the share of variance within emotions that lies between prompts; None with one clip each.

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


def median_ranges(
    values: Float[np.ndarray, " clip"], labels: Int[np.ndarray, "perm clip"]
) -> Float[np.ndarray, " perm"]:
    """Return the largest difference between emotions' medians under every labelling.

    >>> median_ranges(np.array([60.0, 70.0, 120.0, 122.0]), np.array([[0, 0, 1, 1], [0, 1, 0, 1]])).tolist()
    [56.0, 6.0]
    """
    order = np.argsort(values, kind="stable")
    ordered, sorted_labels = values[order], labels[:, order]
    medians = []
    for klass in range(int(labels.max()) + 1):
        passed = np.cumsum(sorted_labels == klass, axis=1)
        size = passed[:, -1:]
        # The median is the mean of the two middle clips, which are one clip where the number is odd.
        middle = [(passed < wanted).sum(axis=1) for wanted in ((size + 1) // 2, size // 2 + 1)]
        medians.append(ordered[np.array(middle)].mean(axis=0))
    return np.ptp(np.array(medians), axis=0)


def range_of_medians(
    values: Float[np.ndarray, " clip"], labels: Int[np.ndarray, " clip"]
) -> tuple[float, int, int]:
    """Return the largest difference between emotions' medians, and the emotions of the lowest and highest.

    >>> range_of_medians(np.array([60.0, 70.0, 120.0, 122.0]), np.array([0, 0, 1, 1]))
    (56.0, 0, 1)
    """
    medians = np.array([np.median(values[labels == k]) for k in range(labels.max() + 1)])
    return float(medians.max() - medians.min()), int(medians.argmin()), int(medians.argmax())
