"""Is the best of several probes better than a baseline? Sign flips over whole units, maximum over probes.

Where probe and baseline are equally good, the difference of a unit is as likely to be d as -d. So the signs
of whole units are flipped at random, the same for all probes, and the best mean difference is compared with
the best one of every flip: the choice of the best probe is part of the null. The folds' probes share most of
their training data, which flips do not see: the observed gain is divided by sqrt(1 + J / (J - 1)), the
correction for J folds. A bootstrap interval of the chosen probe's difference is no such test: it leaves out
the choice and the shared training data (docs/calibration.md).

Sources: Nichols and Holmes 2002, Nonparametric permutation tests for functional neuroimaging (sign flips,
maximum statistic); Nadeau and Bengio 2003, Inference for the generalization error (shared training data).
"""

import numpy as np
from jaxtyping import Float

from moodlens.stats.design import Design, Unit
from moodlens.stats.permutation import p_values


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
        design, unit: what shares a sign; emotions weigh equally, as in balanced accuracy.
        n_folds: of the cross-validation; 1 where the answers need no correction.
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
        gains: by how much each unit is read better than by the baseline; the unit's weight is in it.
        n_folds, n_flips, rng: as in `better_p`.
    """
    signs = rng.choice(np.array([-1.0, 1.0]), size=(gains.shape[1], n_flips))
    best = (gains @ signs).max(axis=0)
    observed = gains.sum(axis=1, keepdims=True)
    if n_folds > 1:
        observed = observed / np.sqrt(1 + n_folds / (n_folds - 1))
    return p_values(np.concatenate([observed, np.broadcast_to(best, (len(gains), n_flips))], axis=1))
