"""Maximum mean discrepancy between emotions: linear (do means differ?) and RBF (does anything differ?).

The kernels are values in, so the statistic itself is `pairwise.discrepancy`: the unbiased MMD^2.
"""

import numpy as np
from jaxtyping import Float

from moodlens.stats.units import squared_distances


def rbf_kernels(grams: Float[np.ndarray, "site unit unit"]) -> Float[np.ndarray, "site unit unit"]:
    """Return exp(-d^2 / (2 s^2)), s: each site's median distance between units; labels play no part.

    Source: Gretton et al. 2012, A kernel two-sample test, JMLR 13, section 8 (median heuristic).
    """
    squared = squared_distances(grams)
    rows, columns = np.triu_indices(grams.shape[1], 1)
    median = np.median(squared[:, rows, columns], axis=1)[:, None, None]
    return np.exp(-squared / (2 * median))


def near(grams: Float[np.ndarray, "site unit unit"]) -> Float[np.ndarray, "site unit unit"]:
    """Return minus the distances between unit means: the discrepancy of these is the energy distance."""
    return -np.sqrt(squared_distances(grams))
