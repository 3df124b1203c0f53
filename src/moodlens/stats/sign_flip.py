"""Paired tests by sign flips: of a difference against zero, of the best of several probes against a baseline.

A sign-flip test is exact where a unit's difference is as likely to be d as -d. This holds when its two sides
are exchangeable. The unit is whole (a prompt, or a wording with all its prompts). All tests of a unit are
flipped together, so maxT takes their dependence into account.

Best of several probes (`better_p`). If probe and baseline are equally good, the difference of a unit is as
likely to be d as -d. The signs of whole units are flipped at random, the same for all probes, and the best
mean difference is compared with the best one of every flip. So the choice of the best probe is part of the
null. The
probes of different folds share most of their training data, which sign flips do not capture: the observed
gain is divided by sqrt(1 + J / (J - 1)), the correction for J folds. A bootstrap interval of the chosen
probe's
difference is not such a test: it leaves out the choice and the shared training data (docs/calibration.md).

Sources: Nichols and Holmes 2002, Nonparametric permutation tests for functional neuroimaging (sign flips,
maximum statistic); Nadeau and Bengio 2003, Inference for the generalization error (shared training data).
"""

from itertools import count
from math import ceil

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as scipy_stats

from moodlens.base.errors import ContractError, Unsupported, must
from moodlens.stats.design import Design, Unit
from moodlens.stats.permutation import TIE, p_values

FEWEST_UNITS = 6
"""Below 6 units no two-sided sign-flip p can be under .05."""


def sign_flips(n_units: int, n_permutations: int, rng: np.random.Generator) -> Int[np.ndarray, "perm unit"]:
    """Return 1 + n_permutations rows of signs, for enough units; the first row is the observed one, all +1.

    Raises:
        ContractError: fewer units than p < .05 needs.
    """
    if n_units < FEWEST_UNITS:
        advice = "Add prompts with other wordings"
        raise Unsupported(
            must("a paired comparison", f"have at least {FEWEST_UNITS} units", n_units, next_step=advice)
        )
    return random_signs(n_units, n_permutations, rng)


def random_signs(n_units: int, n_permutations: int, rng: np.random.Generator) -> Int[np.ndarray, "perm unit"]:
    """Return 1 + n_permutations rows of signs for any number of units; the first row is all +1."""
    signs = rng.choice(np.array([-1, 1], dtype=np.int8), size=(n_permutations + 1, n_units))
    signs[0] = 1
    return signs


def smallest_flip_p(n_units: int, n_permutations: int) -> float:
    """Return the smallest two-sided p of this many units: a flip of all signs is as extreme as none.

    >>> smallest_flip_p(6, 9999)
    0.03125
    """
    return max(1 / (n_permutations + 1), 2.0 ** (1 - n_units))


def fold_factor(n_folds: int) -> float:
    """Return by what the gain of predictions from J folds that share training data is divided."""
    return float(np.sqrt(1 + n_folds / (n_folds - 1))) if n_folds > 1 else 1.0


def smallest_gain_p(n_units: int, n_folds: int, n_flips: int) -> float:
    """Return the smallest p that `gain_p` can give: every unit that differs gains the same.

    m equal gains of 1 sum to m, which counts as m / factor. A flip reaches it where 2 B - m >= m / factor,
    with B the units that keep their sign, binomial (m, 1/2). The least p is taken over m, since the other
    units may be tied.

    >>> smallest_gain_p(6, 1, 9999), smallest_gain_p(6, 8, 9999), smallest_gain_p(5, 8, 9999)
    (0.015625, 0.015625, 0.03125)
    """
    m = np.arange(1, n_units + 1)
    fewest = np.ceil((m + m / fold_factor(n_folds)) / 2 - TIE)
    return max(1 / (n_flips + 1), float(scipy_stats.binom.sf(fewest - 1, m, 0.5).min()))


def require_gain_reachable(thing: str, n_units: int, n_folds: int, n_flips: int, alpha: float) -> None:
    """Raise an error if a comparison by sign flips cannot reach a threshold.

    Args:
        thing: what is compared, for the message.
        n_units, n_folds, n_flips: as in `smallest_gain_p`.
        alpha: threshold; p must be able to fall below it.

    Raises:
        ContractError: names the units, or the flips, that p < alpha needs.
    """
    smallest = smallest_gain_p(n_units, n_folds, n_flips)
    if smallest < alpha:
        return
    if 1 / (n_flips + 1) >= alpha:
        rule = f"be at least {ceil(1 / alpha)} to reach p < {alpha:g}"
        advice = "Raise n_permutations of probe"
        raise ContractError(must(f"sign flips for {thing}", rule, n_flips, next_step=advice))
    needed = next(n for n in count(n_units) if smallest_gain_p(n, n_folds, n_flips) < alpha)
    rule = f"have at least {needed} wordings in all to reach p < {alpha:g} by sign flips"
    got = f"{n_units}, smallest p {smallest:.2g}"
    raise ContractError(must(thing, rule, got, next_step="Raise prompts.n_per_emotion or the threshold"))


def flipped_t(
    differences: Float[np.ndarray, "test unit"], signs: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "test perm"]:
    """Return |t| of the mean difference of every test under every row of signs; 0 where all are zero.

    >>> flipped_t(np.array([[1.0, 2.0, 3.0]]), np.array([[1, 1, 1], [-1, -1, -1]])).round(3).tolist()
    [[3.464, 3.464]]
    """
    n = differences.shape[1]
    mean = differences @ signs.T.astype(np.float64) / n
    squares = np.square(differences).mean(axis=1, keepdims=True)  # flips do not change it
    variance = np.maximum(squares - mean**2, np.finfo(float).eps * squares) / (n - 1)
    return np.divide(np.abs(mean), np.sqrt(variance), out=np.zeros_like(mean), where=variance > 0)


def better_p(
    correct: Float[np.ndarray, "site prompt"],
    baseline_correct: Float[np.ndarray, "*each prompt"],
    design: Design,
    unit: Unit,
    n_folds: int,
    n_flips: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " site"]:
    """Return the one-sided p of each probe against a baseline, adjusted for the best of all probes.

    Args:
        correct: 1 where the out-of-fold prediction of a site's probe is right; same folds throughout.
        baseline_correct: likewise of the baseline, one for all sites or (site, prompt).
        design, unit: prompts of one unit share a sign; emotions have equal weight, as in balanced accuracy.
        n_folds: of the cross-validation; 1 if the predictions need no correction.
        n_flips, rng: of the null; the smallest p is that of `smallest_gain_p`.
    """
    members = design.members(unit)
    weight = 1 / np.bincount(design.labels)[design.labels] / design.n_classes
    whole = members[:, None] == np.arange(int(members.max()) + 1)
    return gain_p(((correct - baseline_correct) * weight) @ whole, n_folds, n_flips, rng)


def gain_p(
    gains: Float[np.ndarray, "site unit"], n_folds: int, n_flips: int, rng: np.random.Generator
) -> Float[np.ndarray, " site"]:
    """Return the one-sided p of summed gains, whole units' signs flipped, adjusted for the best of all sites.

    Args:
        gains: each unit's gain over the baseline, multiplied by the unit's weight.
        n_folds, n_flips, rng: as in `better_p`.
    """
    signs = rng.choice(np.array([-1.0, 1.0]), size=(gains.shape[1], n_flips))
    best = (gains @ signs).max(axis=0)
    observed = gains.sum(axis=1, keepdims=True) / fold_factor(n_folds)
    return p_values(np.concatenate([observed, np.broadcast_to(best, (len(gains), n_flips))], axis=1))
