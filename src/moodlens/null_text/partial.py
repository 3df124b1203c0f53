"""What a state tells of emotion beyond a table of descriptors.

With descriptors A of the wordings and their states S, least squares splits S into what A predicts and a rest.
Under the null (emotion is independent of S given A, S linear in A plus noise) the rest is noise, and turning
it at random inside the space that A leaves changes nothing. The statistic is the out-of-fold error of a ridge
on A and S together: partial R2 = 1 - error(S) / mean error(turned S). It is 0 on average under the null,
whatever the width of S. A plain difference of R2 with and without S is not: a second kernel changes the
shrinkage, and such a difference called a state that adds nothing significant in 50 - 94 % of simulations.

"Beyond A" means beyond a linear reading of A: a state that holds a curved function of A passes too.

Source: rotation tests, Langsrud 2005, Statistics and Computing 15, 53 (exact for normal noise).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.probes.kernel_ridge import out_of_fold_hat
from moodlens.stats.gram import centred

LEAST_FREE = 2
"""Wordings per fitted coefficient below which the split into prediction and rest means nothing."""


@dataclass(frozen=True)
class Partial:
    """Partial R2 of a state beyond descriptors; the interval is the null's, shifted to the estimate."""

    base_r2: float  # of the descriptors alone
    value: float
    low: float
    high: float
    p: float


def partial_r2(
    descriptors: Float[np.ndarray, "unit descriptor"],
    state: Float[np.ndarray, "unit unit"],
    targets: Float[np.ndarray, "unit target"],
    folds: Int[np.ndarray, " unit"],
    penalty: float,
    n_turns: int,
    confidence: float,
    rng: np.random.Generator,
) -> Partial | None:
    """Return the partial R2, or None where there are too few wordings for that many descriptors.

    Args:
        descriptors: one row per wording, standardised.
        state: centred Gram matrix of the wordings' states.
        targets: what is told, e.g. one-hot emotion.
        folds: fold of each wording.
        penalty: of the ridge, multiple of the mean diagonal.
        n_turns: random rotations of the rest; smallest p = 1 / (n + 1).
        confidence: of the interval.
        rng: source of the rotations.
    """
    n = len(folds)
    design = np.hstack([np.ones((n, 1)), descriptors])
    rank = int(np.linalg.matrix_rank(design))
    if n < LEAST_FREE * rank:
        return None
    axes = np.linalg.svd(design)[0]
    told, free = axes[:, :rank] @ axes[:, :rank].T, axes[:, rank:]
    base = _scaled(centred(descriptors @ descriptors.T))
    measured = _error(base, state, targets, folds, penalty)
    turned = np.empty(n_turns)
    for i in range(n_turns):
        turn = told + free @ _rotation(n - rank, rng) @ free.T
        turned[i] = _error(base, turn @ state @ turn.T, targets, folds, penalty)
    p = (1 + int((turned <= measured * (1 + 1e-9)).sum())) / (n_turns + 1)
    null = 1 - turned / turned.mean()
    value = 1 - measured / float(turned.mean())
    tail = (1 - confidence) / 2
    low, high = value - np.quantile(null, (1 - tail, tail))
    alone = np.square(targets - out_of_fold_hat(base, folds, penalty) @ targets).sum()
    total = np.square(targets - targets.mean(axis=0)).sum()
    return Partial(float(1 - alone / total), float(value), float(low), float(high), p)


def _rotation(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    """Return a random orthogonal matrix, uniform over all of them."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def _error(
    base: Float[np.ndarray, "unit unit"],
    state: Float[np.ndarray, "unit unit"],
    targets: Float[np.ndarray, "unit target"],
    folds: Int[np.ndarray, " unit"],
    penalty: float,
) -> float:
    hat = out_of_fold_hat(base + _scaled(centred(state)), folds, penalty)
    return float(np.square(targets - hat @ targets).sum())


def _scaled(gram: Float[np.ndarray, "unit unit"]) -> Float[np.ndarray, "unit unit"]:
    return gram * (len(gram) / np.trace(gram))
