"""Dimension differentiation: the share of dimensions along which emotions differ by more than a threshold.

Each dimension is at mean 0 and variance 1 over units; constant ones are left out. The share is a mean over
pairs of emotions, weighted n_k n_l. With few units most dimensions pass a low threshold by chance alone
(n = 16 per emotion, 0.1: .78), so the share says nothing without its permutation null.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.stats.gram import standardised

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
