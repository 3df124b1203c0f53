"""Agreement of a site with the emotion labels: CCA, debiased CKA, and the share of dimensions that differ.

CCA. The value is the mean squared canonical correlation, |U' Z|^2 / min(rank, K - 1). U is an orthonormal
basis of the first principal axes of the site, Z one of the label contrasts. |U' Z|^2 is the between sum of
squares of U, so all relabellings are one product. On noise the value is near rank / (n - 1), and it reaches 1
as the rank approaches n. So the rank must be much smaller than n, and the mean over relabellings is always
shown beside the value. Source: Kornblith et al. 2019, Similarity of neural network representations revisited,
R^2_CCA; Raghu et al. 2017, SVCCA (the reduction to principal axes).

Debiased CKA. It is 0 on average where emotion has no effect, with L_ij = [label_i = label_j]:
CKA = HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)),
HSIC_1(K, L) = (tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 1'K L 1 / (n - 2)) / (n (n - 3)), diagonals zeroed.
The biased estimate is .93 between independent data at n = 80, d = 1024. With groups of equal size only
tr(K L) changes under relabelling, so p then equals that of the linear MMD and of PERMANOVA: three names for
one test. Source: Song et al. 2012, Feature selection via dependence maximization, JMLR 13, theorem 2
(HSIC_1); Kornblith et al. 2019 (CKA).

Dimension differentiation. Each dimension is scaled to mean 0 and variance 1 over units; constant dimensions
are left out. The share of dimensions whose class means differ by more than a threshold is averaged over pairs
of emotions with weights n_k n_l. With few units most dimensions pass a low threshold by chance (n = 16 per
emotion, 0.1: .78), so the share has no meaning without its permutation null.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.stats.gram import standardised
from moodlens.stats.permanova import group_counts, same_label_sums, sums_of_squares

MOST_AXES = 1 / 3
"""Largest rank allowed, as a share of the units: above it the rank is not much smaller than n."""
RANK_TOLERANCE = 1e-9
"""Eigenvalues below this share of the largest one are no dimension."""


def label_cca(
    grams: Float[np.ndarray, "site unit unit"], labels: Int[np.ndarray, "perm unit"], rank: int
) -> Float[np.ndarray, "site perm"]:
    """Return the mean squared canonical correlation of every site with every labelling.

    Args:
        grams: centred Gram matrices of unit means.
        labels: relabellings, the observed one first.
        rank: principal axes kept.

    Raises:
        ContractError: the rank exceeds a third of the units, or a site has fewer dimensions.
    """
    n_classes = int(labels.max()) + 1
    require_units(rank, grams.shape[1])
    values, vectors = np.linalg.eigh(grams)
    require_dimensions(rank, int(dimensions_of(values).min()), "a site")
    axes = vectors[:, :, -rank:]
    between, _ = sums_of_squares(axes @ axes.transpose(0, 2, 1), labels)
    return between / min(rank, n_classes - 1)


def require_units(rank: int, n_units: int) -> None:
    """Raise an error if CCA would keep more than a third of the units as axes.

    Raises:
        ContractError: the rank exceeds a third of the units.
    """
    if rank > n_units * MOST_AXES:
        rule = f"be at most a third of the {n_units} units that are relabelled"
        advice = f"Lower signal.cca_rank to {int(n_units * MOST_AXES)} or add prompts"
        raise ContractError(must("signal.cca_rank", rule, rank, next_step=advice))


def require_dimensions(rank: int, n_dimensions: int, site: str) -> None:
    """Raise an error if CCA would keep more axes than a site has dimensions.

    Raises:
        ContractError: the rank exceeds the dimensions; the message names `site`.
    """
    if rank > n_dimensions:
        rule = f"not exceed the {n_dimensions} dimensions of {site}"
        advice = f"Lower signal.cca_rank to {n_dimensions}"
        raise ContractError(must("signal.cca_rank", rule, rank, next_step=advice))


def dimensions_of(values: Float[np.ndarray, "... unit"]) -> Int[np.ndarray, "..."]:
    """Return the number of dimensions of Gram matrices, given their eigenvalues in ascending order.

    >>> int(dimensions_of(np.array([1e-12, 0.5, 2.0])))
    2
    """
    return np.asarray((values > RANK_TOLERANCE * values[..., -1:]).sum(axis=-1))


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


BUFFER = 2**22
"""Numbers of one (perm, klass, dim) block."""


def differing_share(
    means: Sequence[Float[np.ndarray, "unit dim"]], labels: Int[np.ndarray, "perm unit"], threshold: float
) -> Float[np.ndarray, "site perm"]:
    """Return the share of dimensions whose class means differ by more than `threshold` standard deviations.

    Args:
        means: unit means of each site; widths may differ.
        labels: relabellings, the observed one first.
        threshold: in standard deviations of the units.

    Raises:
        ContractError: every dimension of a site is constant.

    >>> x = np.array([[0.0, 1], [0, -1], [1, 1], [1, -1]])        # dimension 0 differs, dimension 1 does not
    >>> differing_share([x], np.array([[0, 0, 1, 1]]), 0.1).item()
    0.5
    """
    n, n_classes = labels.shape[1], int(labels.max()) + 1
    sizes = np.bincount(labels[0], minlength=n_classes).astype(np.float64)
    pairs = list(combinations(range(n_classes), 2))
    weights = np.array([sizes[k] * sizes[m] for k, m in pairs])
    weights /= weights.sum()
    out = np.zeros((len(means), len(labels)))
    for site, rows in enumerate(means):
        values = standardised(rows).astype(np.float32)
        width = values.shape[1]
        if width == 0:
            advice = "Leave the site out or check its capture"
            raise ContractError(must("a site", "have a dimension that varies", "none", next_step=advice))
        step = max(1, BUFFER // (n_classes * max(width, n)))
        for start in range(0, len(labels), step):
            part = labels[start : start + step]
            per_class = [((part == k) / sizes[k]).astype(np.float32) @ values for k in range(n_classes)]
            for weight, (k, m) in zip(weights, pairs, strict=True):
                apart = np.abs(per_class[k] - per_class[m]) > threshold
                out[site, start : start + step] += weight * np.count_nonzero(apart, axis=1) / width
    return out
