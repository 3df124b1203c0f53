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

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.stats.design import Design, Unit
from moodlens.stats.permutation import p_values

FEWEST_UNITS = 6
"""Below 6 units no two-sided sign-flip p can be under .05."""


def sign_flips(n_units: int, n_permutations: int, rng: np.random.Generator) -> Int[np.ndarray, "perm unit"]:
    """Return 1 + n_permutations rows of signs, for enough units; the first row is the observed one, all +1.

    Raises:
        ContractError: fewer units than p < .05 needs.
    """
    if n_units < FEWEST_UNITS:
        advice = "Add prompts with other wordings"
        raise ContractError(
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
        n_flips, rng: of the null; the smallest p is 1 / (n_flips + 1).
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
    observed = gains.sum(axis=1, keepdims=True)
    if n_folds > 1:
        observed = observed / np.sqrt(1 + n_folds / (n_folds - 1))
    return p_values(np.concatenate([observed, np.broadcast_to(best, (len(gains), n_flips))], axis=1))
