"""Relabelling of whole units (prompts or wordings), and the smallest p that a design can reach.

The first relabelling is always the observed one, so p, the share of relabellings at least as extreme, is
valid. The mean of a unit of many prompts varies less than that of a unit of few, so units of different size
are not exchangeable: labels move within blocks of units of one size (`stats.design.Design.blocks`).
`sklearn.model_selection.permutation_test_score(groups=...)` permutes within groups, which is the wrong test
here.
"""

from math import ceil, exp, lgamma, log

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must

TIE = 1e-6
"""Relative slack within which statistics count as equal: rounding (float32 products) must not break ties."""

MOST_PROMPTS = 10_000

ROWS_AT_ONCE = 1_000
"""Relabellings drawn at once, as machine integers: numpy permutes those a third faster than bytes."""


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
    return _permuted_rows(labels.astype(np.int8), n_permutations, rng, blocks)


def unit_orders(
    n_units: int,
    n_permutations: int,
    rng: np.random.Generator,
    blocks: Int[np.ndarray, " unit"] | None = None,
) -> Int[np.ndarray, "perm unit"]:
    """Return 1 + n_permutations orders of the units; the first is the observed one.

    Args:
        n_units: how many units there are.
        n_permutations: how many random orders.
        rng: source of randomness.
        blocks: block of each unit; units are exchanged within blocks only. See `crossed`.
    """
    return _permuted_rows(np.arange(n_units), n_permutations, rng, blocks)


def _permuted_rows(
    values: Int[np.ndarray, " unit"],
    n_permutations: int,
    rng: np.random.Generator,
    blocks: Int[np.ndarray, " unit"] | None,
) -> Int[np.ndarray, "perm unit"]:
    """Return the values, then n_permutations copies of them permuted within blocks."""
    table = np.tile(values, (n_permutations + 1, 1))
    for block in [0] if blocks is None else np.unique(blocks):
        columns = np.arange(len(values)) if blocks is None else np.nonzero(blocks == block)[0]
        wide = np.tile(values[columns].astype(np.intp), (min(ROWS_AT_ONCE, n_permutations), 1))
        for start in range(1, n_permutations + 1, ROWS_AT_ONCE):
            rows = wide[: n_permutations + 1 - start]
            table[start : start + ROWS_AT_ONCE, columns] = rng.permuted(rows, axis=1)
    return table


def crossed(*factors: Int[np.ndarray, " unit"]) -> Int[np.ndarray, " unit"]:
    """Return the block of each unit: units with the same value of every factor share a block.

    >>> crossed(np.array([0, 0, 1]), np.array([2, 1, 2])).tolist()
    [1, 0, 2]
    """
    return np.unique(np.stack(factors), axis=1, return_inverse=True)[1].ravel()


def p_values(statistics: Float[np.ndarray, "... perm"]) -> Float[np.ndarray, "..."]:
    """Return the share of relabellings whose statistic is at least the first (observed) one.

    >>> p_values(np.array([3.0, 1.0, 3.0, 2.0])).item()
    0.5
    """
    observed = statistics[..., :1]
    return np.asarray((statistics >= observed - TIE * (1 + np.abs(observed))).mean(axis=-1))


def log_relabellings(counts: Int[np.ndarray, "block klass"]) -> float:
    """Return the log of the number of distinguishable relabellings.

    There are prod_b n_b! / prod_k n_bk! labellings. They are divided by the renamings of emotions with the
    same number of units in every block, which do not change F and accuracy.

    Args:
        counts: units of each emotion in each block.
    """
    total = sum(lgamma(n + 1) for n in counts.sum(axis=1)) - sum(lgamma(n + 1) for n in counts.ravel())
    _, same = np.unique(counts, axis=1, return_counts=True)
    return total - sum(lgamma(m + 1) for m in same)


def counts_by_block(
    labels: Int[np.ndarray, " unit"], blocks: Int[np.ndarray, " unit"] | None = None
) -> Int[np.ndarray, "block klass"]:
    """Return the number of units of each emotion in each block.

    >>> counts_by_block(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])).tolist()
    [[2, 1], [0, 1]]
    """
    rows = (
        np.zeros(len(labels), dtype=np.int64) if blocks is None else np.unique(blocks, return_inverse=True)[1]
    )
    counts = np.zeros((int(rows.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (rows, labels), 1)
    return counts


def fixed_units(labels: Int[np.ndarray, " unit"], blocks: Int[np.ndarray, " unit"] | None = None) -> int:
    """Return how many units keep their label in every relabelling: all units of their block share it.

    >>> fixed_units(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    1
    """
    counts = counts_by_block(labels, blocks)
    return int(counts[(counts > 0).sum(axis=1) == 1].sum())


def smallest_p(
    labels: Int[np.ndarray, " unit"],
    n_permutations: int,
    blocks: Int[np.ndarray, " unit"] | None = None,
) -> float:
    """Return the smallest p that this design and this number of relabellings can give.

    >>> round(smallest_p(np.repeat([0, 1], 7), 10**6), 6)    # two emotions, 7 prompts each: 2 / C(14, 7)
    0.000583
    """
    return max(1 / (n_permutations + 1), exp(-log_relabellings(counts_by_block(labels, blocks))))


def units_needed(n_classes: int, alpha: float) -> int:
    """Return the units per emotion, equal groups in one block, that p < alpha needs.

    >>> units_needed(2, 0.001), units_needed(4, 0.001)
    (7, 3)
    """
    for n in range(2, MOST_PROMPTS):
        if -log_relabellings(np.full((1, n_classes), n)) < log(alpha):
            return n
    raise ContractError(must("alpha", "be reachable", alpha, next_step="Raise it"))


def require_reachable(
    thing: str, smallest: float, n_permutations: int, n_classes: int, unit: str, alpha: float
) -> None:
    """Raise an error if the design or the number of relabellings cannot reach a threshold.

    Args:
        thing: what is tested, for the message.
        smallest: from `smallest_p`.
        n_permutations: random relabellings.
        n_classes: emotions.
        unit: prompt or wording.
        alpha: threshold; p must be able to fall below it.

    Raises:
        ContractError: names the relabellings, or the units per emotion, that p < alpha needs.
    """
    if smallest < alpha:
        return
    if 1 / (n_permutations + 1) >= alpha:
        rule = f"be at least {ceil(1 / alpha)} to reach p < {alpha:g}"
        advice = "Raise n_permutations of signal and probe"
        raise ContractError(must(f"relabellings for {thing}", rule, n_permutations, next_step=advice))
    alike = ", in equally many prompts each," if unit == "wording" else ""
    rule = (
        f"have at least {units_needed(n_classes, alpha)} {unit}s for each of {n_classes} emotions{alike} "
        f"to reach p < {alpha:g}"
    )
    advice = "Raise prompts.n_per_emotion or the threshold"
    raise ContractError(
        must(f"the design for {thing}", rule, f"a smallest p of {smallest:.2g}", next_step=advice)
    )
