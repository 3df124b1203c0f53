"""Absorption and splitting of an emotion, by wording.

Take the best latent of an emotion: the largest difference of means on the training wordings. On a held-out
wording of the emotion

- the best latent *fires* where its firing rate is at least half of its mean rate on the emotion's training
  wordings;
- a latent *carries* the emotion where its activation beyond its mean on other emotions, times the effect of
  its decoder row on the emotion's detector, is at least half of what the best latent puts there on average.

The wording is *missed* where the best latent does not fire. It is *absorbed* where it is missed and another
latent carries the emotion: what the best latent seems to detect then has an exception that another latent has
taken over. The *leader* of a wording is the latent that carries most there. An emotion with one leader is one
latent; with as many leaders as wordings it is *split* to the words, and no latent stands for the emotion.

Source: Chanin et al. 2024, A is for absorption, arXiv 2409.14507. There the concept is a first letter, the
unit is a token, the main latents come from a k-sparse probe, and the absorbing latent is found by its
ablation effect and the cosine of its decoder row with a probe. Here the effect on the detector joins both,
and the unit is the wording.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import beta

from moodlens.latents.detectors import Wordings, detectors, differences, one_hot

HALF = 0.5
"""Share of the usual rate from which a latent fires, and of the usual effect from which it carries."""


@dataclass(frozen=True)
class Absorption:
    """What was found on every held-out wording; folds whose training rows lack an emotion are left out."""

    tested: Bool[np.ndarray, " wording"]
    missed: Bool[np.ndarray, " wording"]
    absorbed: Bool[np.ndarray, " wording"]
    leader: Int[np.ndarray, " wording"]  # latent; -1 where none carries anything


def absorption(
    latents: Float[np.ndarray, "wording latent"],
    rates: Float[np.ndarray, "wording latent"],
    W_dec: Float[np.ndarray, "latent d_in"],
    wordings: Wordings,
    ridge: float,
) -> Absorption:
    """Return which held-out wordings are missed and absorbed, and which latent leads each.

    Args:
        latents: mean activation by wording.
        rates: share of the wording's rows on which each latent fires.
        W_dec: of the SAE.
        wordings: of the rows.
        ridge: of the detectors.
    """
    n = len(wordings.labels)
    tested, missed, absorbed = (np.zeros(n, dtype=bool) for _ in range(3))
    leader = np.full(n, -1)
    rebuilt = latents @ W_dec
    for train, test in wordings.parts():
        labels = wordings.labels[train]
        found = detectors(rebuilt[train], one_hot(labels, wordings.n_classes), ridge)
        effects = W_dec @ found.weights
        best = differences(latents[train], labels, wordings.n_classes).argmax(axis=1)
        tested |= test
        for klass, latent in enumerate(best):
            own = test & (wordings.labels == klass)
            mine, others = train & (wordings.labels == klass), train & (wordings.labels != klass)
            beyond = latents - latents[others].mean(axis=0)
            carried = beyond[own] * effects[:, klass] * (latents[own] > 0)
            usual = float((beyond[mine, latent] * effects[latent, klass]).mean())
            missed[own] = rates[own, latent] < HALF * rates[mine, latent].mean()
            taken = np.delete(carried, latent, axis=1).max(axis=1, initial=-np.inf)
            absorbed[own] = missed[own] & (usual > 0) & (taken >= HALF * usual)
            leader[own] = np.where(carried.max(axis=1) > 0, carried.argmax(axis=1), -1)
    return Absorption(tested, missed, absorbed, leader)


@dataclass(frozen=True)
class Shares:
    """Absorption of one emotion, or of all together."""

    n_wordings: int
    missed: float
    absorbed: float
    low: float  # Clopper-Pearson over wordings, of `absorbed`
    high: float
    n_leaders: float  # different leaders; of all emotions: mean over them
    largest: float  # share of wordings that the most frequent leader leads, likewise


def shares_of(
    result: Absorption, labels: Int[np.ndarray, " wording"], confidence: float
) -> tuple[Shares, list[Shares]]:
    """Return the shares of all emotions together, and of each emotion.

    Args:
        result: from `absorption`.
        labels: emotion of each wording.
        confidence: of the intervals.
    """
    each = [_shares(result, labels == klass, confidence) for klass in range(int(labels.max()) + 1)]
    whole = _shares(result, np.ones(len(labels), dtype=bool), confidence)
    means = {name: float(np.mean([getattr(one, name) for one in each])) for name in ("n_leaders", "largest")}
    return Shares(**{**vars(whole), **means}), each


def _shares(result: Absorption, chosen: Bool[np.ndarray, " wording"], confidence: float) -> Shares:
    members = chosen & result.tested
    n, n_absorbed = int(members.sum()), int(result.absorbed[members].sum())
    _, led = np.unique(result.leader[members & (result.leader >= 0)], return_counts=True)
    low, high = share_interval(n_absorbed, n, confidence)
    return Shares(
        n_wordings=n,
        missed=float(result.missed[members].mean()) if n else 0.0,
        absorbed=n_absorbed / max(n, 1),
        low=low,
        high=high,
        n_leaders=float(len(led)),
        largest=float(led.max(initial=0)) / max(n, 1),
    )


def share_interval(hits: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share; (0, 1) without trials.

    >>> low, high = share_interval(0, 36, 0.95)
    >>> low, round(high, 4)                                                    # 1 - .025^(1/36)
    (0.0, 0.0974)
    """
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high
