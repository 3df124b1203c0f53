"""CCA between a site, reduced to its first principal axes, and the labels.

The value is the mean squared canonical correlation, |U' Z|^2 / min(rank, K - 1), with U an orthonormal basis
of the axes and Z one of the label contrasts. |U' Z|^2 is the between sum of squares of U, so all relabellings
are one product. On noise it is near rank / (n - 1), and 1 where rank nears n: hence rank << n, and the
permutation mean always beside it.

Source: Kornblith et al. 2019, Similarity of neural network representations revisited, R^2_CCA; Raghu et al.
2017, SVCCA (the reduction).
"""

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.stats.permanova import sums_of_squares

MOST_AXES = 1 / 3
"""Share of the units above which the rank is no longer "much smaller than n"."""


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
    n, n_classes = grams.shape[1], int(labels.max()) + 1
    if rank > n * MOST_AXES:
        rule = f"be at most a third of the {n} units that are relabelled"
        advice = f"Lower signal.cca_rank to {int(n * MOST_AXES)} or add prompts"
        raise ContractError(must("signal.cca_rank", rule, rank, next_step=advice))
    values, vectors = np.linalg.eigh(grams)
    short = values[:, -rank] <= 1e-9 * values[:, -1]
    if short.any():
        have = int((values[short.argmax()] > 1e-9 * values[short.argmax(), -1]).sum())
        rule, advice = f"not exceed the {have} dimensions of a site", f"Lower signal.cca_rank to {have}"
        raise ContractError(must("signal.cca_rank", rule, rank, next_step=advice))
    axes = vectors[:, :, -rank:]
    between, _ = sums_of_squares(axes @ axes.transpose(0, 2, 1), labels)
    return between / min(rank, n_classes - 1)
