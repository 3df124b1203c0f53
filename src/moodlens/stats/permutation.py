"""Relabelling of whole units (prompts or wordings), and what p a design can reach.

The first relabelling is always the observed one, so p = share of relabellings at least as extreme is valid.
`sklearn.model_selection.permutation_test_score(groups=...)` permutes within groups: the wrong test here.
"""

from math import ceil, exp, lgamma, log

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must

TIE = 1e-9
"""Relative slack under which two statistics are equal: rounding must not break ties."""

MOST_PROMPTS = 10_000


def relabellings(
    labels: Int[np.ndarray, " unit"],
    n_permutations: int,
    rng: np.random.Generator,
    blocks: Int[np.ndarray, " unit"] | None = None,
) -> Int[np.ndarray, "perm unit"]:
    """Return 1 + n_permutations labellings of the units; the first is the observed one.

    Args:
        labels: emotion of each unit; group sizes may differ.
        n_permutations: how many random relabellings.
        rng: source of randomness.
        blocks: block of each unit in a crossed design (the template): labels move within blocks only.
    """
    table = np.tile(labels.astype(np.int8), (n_permutations + 1, 1))
    if blocks is None:
        table[1:] = rng.permuted(table[1:], axis=1)
        return table
    for block in np.unique(blocks):
        (columns,) = np.nonzero(blocks == block)
        table[1:, columns] = rng.permuted(table[1:, columns], axis=1)
    return table


def p_values(statistics: Float[np.ndarray, "... perm"]) -> Float[np.ndarray, "..."]:
    """Return the share of relabellings whose statistic is at least the first (observed) one.

    >>> p_values(np.array([3.0, 1.0, 3.0, 2.0])).item()
    0.5
    """
    observed = statistics[..., :1]
    return (statistics >= observed - TIE * (1 + np.abs(observed))).mean(axis=-1)


def log_relabellings(counts: Int[np.ndarray, " klass"]) -> float:
    """Return the log of the number of distinguishable relabellings: n! / prod n_k!, over the renamings
    of groups of equal size, which leave F and accuracy as they are."""
    total = lgamma(counts.sum() + 1) - sum(lgamma(n + 1) for n in counts)
    _, same = np.unique(counts, return_counts=True)
    return total - sum(lgamma(m + 1) for m in same)


def smallest_p(labels: Int[np.ndarray, " unit"], n_permutations: int) -> float:
    """Return the smallest p that this design and this number of relabellings can give.

    >>> round(smallest_p(np.repeat([0, 1], 7), 10**6), 6)    # two emotions, 7 prompts each: 2 / C(14, 7)
    0.000583
    """
    return max(1 / (n_permutations + 1), exp(-log_relabellings(np.bincount(labels))))


def units_needed(n_classes: int, alpha: float) -> int:
    """Return the units per emotion, equal groups, that p < alpha needs.

    >>> units_needed(2, 0.001), units_needed(4, 0.001)
    (7, 3)
    """
    for n in range(2, MOST_PROMPTS):
        if -log_relabellings(np.full(n_classes, n)) < log(alpha):
            return n
    raise ContractError(must("alpha", "be reachable", alpha, next_step="Raise it"))


def require_reachable(
    labels: Int[np.ndarray, " unit"], n_permutations: int, alpha: float, unit: str, key: str
) -> None:
    """Refuse a threshold that the design or the number of relabellings cannot reach.

    Args:
        labels: emotion of each unit.
        n_permutations: random relabellings.
        alpha: threshold; p must be able to fall below it.
        unit: prompt or wording, for the message.
        key: the parameter that holds n_permutations.

    Raises:
        ContractError: names the units, or the relabellings, that p < alpha needs.
    """
    n_classes = len(np.unique(labels))
    if 1 / (n_permutations + 1) >= alpha:
        raise ContractError(
            must(key, f"be at least {ceil(1 / alpha)} to reach p < {alpha:g}", n_permutations, next_step="Raise it")
        )
    if smallest_p(labels, n_permutations) >= alpha:
        needed = units_needed(n_classes, alpha)
        counts = np.bincount(labels)
        got = f"{'/'.join(str(n) for n in counts)}: the smallest p is {smallest_p(labels, n_permutations):.2g}"
        raise ContractError(
            must(
                "the design",
                f"have at least {needed} {unit}s for each of {n_classes} emotions to reach p < {alpha:g}",
                got,
                next_step="Raise prompts.n_per_emotion or the threshold",
            )
        )
