"""k-sparse probes: how well k latents tell an emotion, beside k coordinates of other bases.

For every emotion the k units with the largest difference of means (the emotion against the others) are chosen
on the training wordings, a ridge detector is fitted on them, and held-out wordings are told apart. If emotion
has latents of its own, few of them do what many directions do. Bases that it is compared with, at equal k:

- `random`: as many random unit directions of the states as the SAE has latents (mean of N_RANDOM draws);
- `untrained_sae`: latents of an untrained SAE of the same shape, so the same sparsity without the training;
- `pca`: principal components of the rows, fitted without labels;
- `dense`: k directions of a dense probe. The first is the ridge detector of the emotion on all dimensions.
  The next is that of the rows with the earlier ones projected out. It sees the labels in all dimensions, so
  it is the bound that a linear reader gives;
- `twin_sae`: latents of the untrained twin's SAE.

Sources: Gurnee et al. 2023, Finding neurons in a haystack (k-sparse probes by difference of means); Karvonen
et al. 2025, SAEBench, arXiv 2503.09532 (the same for SAEs); Ravfogel et al. 2020, Null it out (repeated
projection).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.latents.detectors import Features, Wordings, detectors, differences, one_hot, sparse_accuracy
from moodlens.stats.bootstrap import interval, unit_resamples
from moodlens.stats.sign_flip import gain_p

N_RANDOM = 5
"""Sets of random directions whose accuracies are averaged."""
OWN = "sae"


@dataclass(frozen=True)
class SparseScore:
    """One basis at one k: balanced accuracy of the detectors, chance 1/2, and the SAE's gain over it."""

    accuracy: float
    low: float
    high: float
    gain: float | None  # accuracy of the SAE minus this; None for the SAE itself
    gain_low: float | None
    gain_high: float | None
    gain_p: float | None  # one-sided, signs of whole wordings flipped, adjusted for the best k


def chosen_units(
    rows: Float[np.ndarray, "wording unit"], labels: Int[np.ndarray, " wording"], n_classes: int
) -> Features:
    """Return the features of a basis: the k units with the largest absolute difference of training means."""

    def features(train: Bool[np.ndarray, " wording"], klass: int, k: int) -> np.ndarray:
        difference = differences(rows[train], labels[train], n_classes)[klass]
        return rows[:, np.argsort(-np.abs(difference), kind="stable")[:k]]

    return features


def dense_directions(
    rows: Float[np.ndarray, "wording dim"], labels: Int[np.ndarray, " wording"], ridge: float
) -> Features:
    """Return the features of the dense probe: coordinates on its first k directions."""

    def features(train: Bool[np.ndarray, " wording"], klass: int, k: int) -> np.ndarray:
        rest, columns = rows - rows[train].mean(axis=0), []
        is_class = one_hot(labels[train], int(labels.max()) + 1)[:, [klass]]
        for _ in range(k):
            weights = detectors(rest[train], is_class, ridge).weights[:, 0]
            length = np.linalg.norm(weights)
            direction = weights / length if length > 0 else weights
            columns.append(rest @ direction)
            rest = rest - np.outer(columns[-1], direction)
        return np.stack(columns, axis=1)

    return features


def sparse_parts(
    rows: Float[np.ndarray, "wording unit"], wordings: Wordings, ks: tuple[int, ...], ridge: float
) -> Float[np.ndarray, "n wording"]:
    """Return each wording's part of the k-sparse accuracy of one basis, a row per k."""
    return sparse_accuracy(chosen_units(rows, wordings.labels, wordings.n_classes), wordings, ks, ridge)


def parts_of_bases(
    bases: Mapping[str, Float[np.ndarray, "wording _"]],
    states: Float[np.ndarray, "wording d_in"],
    axes: Float[np.ndarray, "d_in _"],
    wordings: Wordings,
    ks: tuple[int, ...],
    ridge: float,
    rng: np.random.Generator,
) -> dict[str, Float[np.ndarray, "n wording"]]:
    """Return the parts of the accuracy of every basis.

    Args:
        bases: units by wording; must hold OWN, the SAE's latents.
        states: mean states by wording.
        axes: principal axes of the rows.
        wordings: of the rows.
        ks: numbers of coordinates.
        ridge: of the detectors.
        rng: draws the random directions.
    """
    parts = {name: sparse_parts(rows, wordings, ks, ridge) for name, rows in bases.items()}
    n_latents, draws = bases[OWN].shape[1], []
    for _ in range(N_RANDOM):
        directions = rng.standard_normal((states.shape[1], n_latents))
        draws.append(
            sparse_parts(states @ (directions / np.linalg.norm(directions, axis=0)), wordings, ks, ridge)
        )
    parts["random"] = np.mean(draws, axis=0)
    parts["pca"] = sparse_parts(states @ axes, wordings, ks, ridge)
    dense = dense_directions(states, wordings.labels, ridge)
    parts["dense"] = sparse_accuracy(dense, wordings, ks, ridge)
    return parts


def sparse_scores(
    parts: Mapping[str, Float[np.ndarray, "n wording"]],
    wordings: Wordings,
    ks: Sequence[int],
    n_resamples: int,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, dict[str, SparseScore]]:
    """Return k -> basis -> score, with intervals by resampling wordings within each emotion.

    Args:
        parts: from `parts_of_bases`.
        wordings: of the rows.
        ks: numbers of coordinates, as in `parts`.
        n_resamples: resamples, and sign flips of each test.
        confidence: of the intervals.
        rng: of resamples and flips.
    """
    counts = unit_resamples(wordings.labels, n_resamples, rng).astype(np.float64)
    own, results = parts[OWN], {str(k): {} for k in ks}
    for name, part in parts.items():
        low, high = interval(part @ counts.T, confidence)
        gains = own - part
        gain_low, gain_high = interval(gains @ counts.T, confidence)
        p = gain_p(gains, wordings.n_folds, n_resamples, rng)
        for i, k in enumerate(ks):
            other = name != OWN
            results[str(k)][name] = SparseScore(
                accuracy=float(part[i].sum()),
                low=float(low[i]),
                high=float(high[i]),
                gain=float(gains[i].sum()) if other else None,
                gain_low=float(gain_low[i]) if other else None,
                gain_high=float(gain_high[i]) if other else None,
                gain_p=float(p[i]) if other else None,
            )
    return results
