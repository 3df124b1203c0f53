"""Disentanglement of known factors: does one unit hold one acoustic factor, and nothing else?

The factors of a clip are measured on its audio (onset rate, loudness, brightness, mode), so their truth is
known whatever the labels. Rows are prompts, folds hold out whole wordings. For each factor the best and the
second unit are those with the largest r^2 on the training prompts; a line fitted there predicts the held-out
ones. With R2 the out-of-fold share of variance, at least 0:

    R2          of the factor, from its best unit
    gap         R2 of the best unit - R2 of the second                   (one unit holds the factor)
    modularity  R2 of the factor - largest R2 of another factor, all from the best unit   (and no other)

Gap and modularity are 1 where each factor has a unit of its own and 0 where units mix factors. Factors of
real music go together, so that both stay below 1 even for basis `ideal`, whose units are the factors
themselves. Its modularity is what correlated factors allow. Its gap is no bound: units at right angles hold
what factors share once, not twice. The number of units changes what the best of them reaches, so all bases
have equally many.

Sources: Kumar et al. 2018, arXiv 1711.00848 (SAP, the gap in R2); Chen et al. 2018, arXiv 1802.04942 (MIG,
the same with mutual information); Ridgeway and Mozer 2018, arXiv 1802.05312 (modularity); Eastwood and
Williams 2018 (completeness and disentanglement, what gap and modularity stand for).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.bootstrap import interval

MEASURES = ("r2", "gap", "modularity")
OWN = "sae"


@dataclass(frozen=True)
class Errors:
    """Squared out-of-fold errors of one basis."""

    best: Float[np.ndarray, "factor prompt"]  # of each factor, from its best unit
    second: Float[np.ndarray, "factor prompt"]
    others: Float[np.ndarray, "factor factor prompt"]  # from the best unit of the first, of the second factor
    mean: Float[np.ndarray, "factor prompt"]  # of the training mean


def most_varying(units: Float[np.ndarray, "prompt unit"], n: int) -> Float[np.ndarray, "prompt n"]:
    """Return the `n` units with the largest variance over prompts, a choice without labels."""
    return units[:, np.sort(np.argsort(-units.var(axis=0), kind="stable")[:n])]


def errors_of(
    units: Float[np.ndarray, "prompt unit"],
    factors: Float[np.ndarray, "prompt factor"],
    folds: Int[np.ndarray, " prompt"],
) -> Errors:
    """Return the out-of-fold errors of predicting every factor from single units.

    Args:
        units: activation of each unit, at least two units.
        factors: value of each factor.
        folds: fold of each prompt; prompts of a wording share one.
    """
    n_prompts, n_factors = factors.shape
    best, second, mean = (np.zeros((n_factors, n_prompts)) for _ in range(3))
    others = np.zeros((n_factors, n_factors, n_prompts))
    for fold in np.unique(folds):
        test = folds == fold
        centre, middle = units[~test].mean(axis=0), factors[~test].mean(axis=0)
        x, y = units[~test] - centre, factors[~test] - middle
        product, power = x.T @ y, np.square(x).sum(axis=0)
        varies = power > 1e-12 * np.maximum(np.square(units).sum(axis=0), 1e-300)
        slope = np.divide(product, power[:, None], out=np.zeros_like(product), where=varies[:, None])
        order = np.argsort(-(slope * product), axis=0, kind="stable")  # r^2 times the factor's own variance
        held_x, held_y = units[test] - centre, factors[test] - middle
        mean[:, test] = np.square(held_y).T
        for factor in range(n_factors):
            first, next_one = order[0, factor], order[1, factor]
            second[factor, test] = np.square(
                held_y[:, factor] - held_x[:, next_one] * slope[next_one, factor]
            )
            others[factor][:, test] = np.square(held_y - held_x[:, [first]] * slope[first]).T
        best[:, test] = others[np.arange(n_factors), np.arange(n_factors)][:, test]
    return Errors(best, second, others, mean)


def measures_of(
    errors: Errors, counts: Float[np.ndarray, "boot prompt"]
) -> Float[np.ndarray, "measure factor boot"]:
    """Return R2, gap and modularity of every factor in every resample.

    Args:
        errors: of one basis.
        counts: how often each prompt occurs; a row of ones gives the estimate.
    """
    total = errors.mean @ counts.T

    def explained(wrong: np.ndarray) -> np.ndarray:
        return np.maximum(0, 1 - (wrong @ counts.T) / total)

    r2, n = explained(errors.best), len(total)
    elsewhere = explained(errors.others)
    elsewhere[np.arange(n), np.arange(n)] = 0
    return np.stack([r2, r2 - explained(errors.second), r2 - elsewhere.max(axis=1)])


@dataclass(frozen=True)
class FactorScore:
    """One basis: means over the factors with intervals by wording, and the SAE's gain over it."""

    by_factor: dict[str, dict[str, float]]  # factor -> measure -> value
    mean: dict[str, float]  # by measure, as all of the following
    low: dict[str, float]
    high: dict[str, float]
    gain: dict[str, float]  # mean of the SAE minus this; {} for the SAE itself
    gain_low: dict[str, float]
    gain_high: dict[str, float]


def factor_scores(
    bases: Mapping[str, Sequence[Errors]],
    names: Sequence[str],
    counts: Int[np.ndarray, "boot prompt"],
    confidence: float,
) -> dict[str, FactorScore]:
    """Return the score of every basis.

    Args:
        bases: errors of each basis; several (draws of random directions) are averaged. Must hold OWN.
        names: of the factors.
        counts: resamples of whole wordings.
        confidence: of the intervals.
    """
    rows = np.concatenate([np.ones((1, counts.shape[1])), counts])
    found = {
        name: np.mean([measures_of(errors, rows) for errors in draws], axis=0)
        for name, draws in bases.items()
    }
    scores = {}
    for name, values in found.items():
        mean, gain = values.mean(axis=1), found[OWN].mean(axis=1) - values.mean(axis=1)
        low, high = interval(mean[:, 1:], confidence)
        gain_low, gain_high = interval(gain[:, 1:], confidence)
        by_factor: dict[str, dict[str, float]] = {
            factor: dict(zip(MEASURES, map(float, values[:, i, 0]), strict=True))
            for i, factor in enumerate(names)
        }
        other = name != OWN
        scores[name] = FactorScore(
            by_factor=by_factor,
            mean=_by_measure(mean[:, 0]),
            low=_by_measure(low),
            high=_by_measure(high),
            gain=_by_measure(gain[:, 0]) if other else {},
            gain_low=_by_measure(gain_low) if other else {},
            gain_high=_by_measure(gain_high) if other else {},
        )
    return scores


def _by_measure(values: Float[np.ndarray, " measure"]) -> dict[str, float]:
    return dict(zip(MEASURES, map(float, values), strict=True))
