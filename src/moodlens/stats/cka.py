"""Debiased CKA between a site and the labels: 0 on average where emotion does nothing.

CKA = HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), L_ij = [label_i = label_j],
HSIC_1(K, L) = (tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 1'K L 1 / (n - 2)) / (n (n - 3)), diagonals zeroed.
The biased estimate reads .93 between independent data at n = 80, d = 1024. With groups of equal size only
tr(K L) moves under relabelling, so p is then that of the linear MMD and of PERMANOVA: three names, one test.

Source: Song et al. 2012, Feature selection via dependence maximization, JMLR 13, theorem 2 (HSIC_1);
Kornblith et al. 2019, Similarity of neural network representations revisited (CKA).
"""

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.stats.permanova import group_counts, same_label_sums

LEAST_UNITS = 4


def label_cka(
    grams: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "site perm"]:
    """Return the debiased CKA of every site with every labelling.

    Raises:
        ContractError: fewer than four units.
    """
    n = grams.shape[1]
    if n < LEAST_UNITS:
        rule, advice = f"have at least {LEAST_UNITS} units", "Add prompts"
        raise ContractError(must("debiased CKA", rule, n, next_step=advice))
    hollow = grams * (1 - np.eye(n))
    sizes = group_counts(labels[:1], int(labels.max()) + 1)[0].astype(np.float64)
    row_sums = hollow.sum(axis=2)
    ones = np.ones((1, len(sizes)))
    mates = (sizes - 1)[labels]  # row sums of L
    cross = _hsic(2 * same_label_sums(grams, labels, ones), row_sums @ mates.T, row_sums, mates[0], n)
    own = _hsic((hollow**2).sum(axis=(1, 2)), (row_sums**2).sum(axis=1), row_sums, row_sums, n)
    of_labels = _hsic((sizes * (sizes - 1)).sum(), (mates[0] ** 2).sum(), mates[0], mates[0], n)
    return cross / np.sqrt(own * of_labels)[:, None]


def _hsic(
    trace: np.ndarray, product: np.ndarray, rows_k: np.ndarray, rows_l: np.ndarray, n: int
) -> np.ndarray:
    """HSIC_1 from tr(K L), 1'K L 1 and the row sums of both; n (n - 3) cancels in the ratio."""
    totals = rows_k.sum(axis=-1) * rows_l.sum(axis=-1) / ((n - 1) * (n - 2))
    return trace + (totals[:, None] if np.ndim(trace) == 2 else totals) - 2 * product / (n - 2)
