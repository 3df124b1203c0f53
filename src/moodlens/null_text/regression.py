"""Kernel ridge regression over wordings: out-of-fold R2 of targets, beside other readers of the same tokens.

One row per wording (its prompts' mean), so that rows are exchangeable under the null and relabelling is a
permutation of rows. Predictions are linear in the target, H y, so thousands of permutations are one product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.stats.bootstrap import interval
from moodlens.stats.multiplicity import max_t
from moodlens.stats.sign_flip import gain_p


@dataclass(frozen=True)
class TargetLead:
    """By how much a reader's R2 exceeds another's; interval by resampling wordings."""

    value: float  # R2 of the other reader
    difference: float
    low: float
    high: float
    p: float  # one-sided: signs of whole wordings flipped, folds that share training data corrected for


@dataclass(frozen=True)
class TargetScore:
    """R2 of one target by the first reader, and its lead over the others."""

    target: str
    value: float
    low: float
    high: float
    p: float  # maxT over the targets
    leads: dict[str, TargetLead]
    predicted: Float[np.ndarray, " unit"]  # by the first reader, out of fold, mean over views


def read_targets(
    readers: Mapping[str, Float[np.ndarray, "view unit unit"]],
    targets: Mapping[str, Float[np.ndarray, " unit"]],
    counts: Int[np.ndarray, "boot unit"],
    permutations: Int[np.ndarray, "perm unit"],
    confidence: float,
    n_folds: int,
    beside: Mapping[str, Mapping[str, Float[np.ndarray, "view unit unit"]]] | None = None,
) -> list[TargetScore]:
    """Return how well the first reader tells each target, beside the other readers.

    Args:
        readers: name -> out-of-fold hats, one per view; squared errors are averaged over views.
        targets: name -> one value per wording.
        counts: how often each wording occurs in each resample.
        permutations: orders of the wordings, the identity first.
        confidence: of the intervals.
        n_folds: of the hats; the p of a lead allows for the training data that folds share.
        beside: target -> further readers of that target alone.
    """
    first, *_ = readers
    adjusted = max_t(np.stack([_null(readers[first], y, permutations) for y in targets.values()]))
    scores = []
    for (name, y), p in zip(targets.items(), adjusted, strict=True):
        all_readers = {**readers, **(beside or {}).get(name, {})}
        errors = {reader: np.square(y - hats @ y).mean(axis=0) for reader, hats in all_readers.items()}
        total = np.square(y - y.mean())
        scale = counts @ total
        low, high = interval(1 - counts @ errors[first] / scale, confidence)
        leads = {}
        for other in (reader for reader in errors if reader != first):
            gain = errors[other] - errors[first]
            bounds = interval(counts @ gain / scale, confidence)
            value, lead = float(1 - errors[other].sum() / total.sum()), float(gain.sum() / total.sum())
            p_lead = float(
                gain_p(gain[None], n_folds, len(permutations) - 1, rng_for("lead", name, other))[0]
            )
            leads[other] = TargetLead(value, lead, float(bounds[0]), float(bounds[1]), p_lead)
        value = float(1 - errors[first].sum() / total.sum())
        predicted = (readers[first] @ y).mean(axis=0)
        scores.append(TargetScore(name, value, float(low), float(high), float(p), leads, predicted))
    return scores


def _null(
    hats: Float[np.ndarray, "view unit unit"],
    target: Float[np.ndarray, " unit"],
    permutations: Int[np.ndarray, "perm unit"],
) -> Float[np.ndarray, " perm"]:
    """Return the R2 of every permuted target; errors averaged over views."""
    shuffled = target[permutations].T
    errors = np.mean([np.square(shuffled - hat @ shuffled).sum(axis=0) for hat in hats], axis=0)
    return 1 - errors / np.square(target - target.mean()).sum()
