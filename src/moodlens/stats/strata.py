"""Nuisance strata: prompts that are alike in everything but the wording.

A nuisance is what prompts name besides emotion: set, template, instrument, genre, key. Where emotions differ
in a nuisance, a relabelling that ignores it takes the nuisance for emotion. Where they do not, one that holds
it fixed is exact and leaves its variance out of the null. So labels move within strata of every nuisance for
which the design has enough relabellings.

Nuisances are held fixed one after the other, the most associated with emotion first, as long as enough
relabellings remain. The choice depends on the design alone, never on what was measured. A nuisance that could
not be held although it predicts emotion is found by `stats.design_check`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Float, Int

from moodlens.stats.design import blocks_of
from moodlens.stats.permutation import counts_by_block, fixed_units, log_relabellings

ENOUGH = 2_000
"""Distinguishable relabellings that strata must leave: p can then fall below .001."""
MOVING = 0.9
"""Share of the units that could change their label without strata and must still be able to."""

DIGITS = 6
"""Decimals of an association; smaller differences are rounding, not an order of nuisances."""


@dataclass(frozen=True)
class Strata:
    """The stratum of each prompt, and the nuisances that relabellings within strata hold fixed."""

    codes: Int[np.ndarray, " prompt"]
    held: tuple[str, ...]
    free: tuple[str, ...]  # the other nuisances


def strata_of(
    labels: Int[np.ndarray, " prompt"],
    members: Int[np.ndarray, " prompt"],
    nuisances: Mapping[str, Sequence[str]],
) -> Strata:
    """Return the strata of as many nuisances as leave enough relabellings.

    Args:
        labels: emotion of each prompt.
        members: unit of each prompt.
        nuisances: name -> its value in each prompt. Of equally associated ones that of fewest values comes
            first.

    >>> labels, members = np.repeat([0, 1, 2, 3], 8), np.arange(32)
    >>> strata_of(labels, members, {"key": [str(i) for i in range(32)], "set": ["a", "b"] * 16}).held
    ('set',)
    """
    codes = {name: codes_of(values) for name, values in nuisances.items()}
    strength = {
        name: round(max(0.0, float(association(code, labels[None])[0])), DIGITS)
        for name, code in codes.items()
    }
    _, first = np.unique(members, return_index=True)
    by_unit = labels[first]
    n_moving = len(by_unit) - fixed_units(by_unit, blocks_of(members))
    joint, held = np.zeros(len(labels), dtype=np.int64), []
    for name in sorted(codes, key=lambda name: (-strength[name], codes[name].max())):
        finer = np.unique(np.stack([joint, codes[name]]), axis=1, return_inverse=True)[1].ravel()
        blocks = blocks_of(members, finer)
        enough = log_relabellings(counts_by_block(by_unit, blocks)) >= log(ENOUGH)
        if enough and len(by_unit) - fixed_units(by_unit, blocks) >= MOVING * n_moving:
            joint = finer
            held.append(name)
    names = tuple(name for name in codes if name in held)
    return Strata(joint, names, tuple(name for name in codes if name not in held))


def codes_of(values: Sequence[str]) -> Int[np.ndarray, " prompt"]:
    """Return the number of each value among the distinct values.

    >>> codes_of(["b", "a", "b"]).tolist()
    [1, 0, 1]
    """
    return np.unique(np.asarray(values, dtype=str), return_inverse=True)[1].ravel()


def association(
    codes: Int[np.ndarray, " prompt"], labels: Int[np.ndarray, "perm prompt"]
) -> Float[np.ndarray, " perm"]:
    """Return the association of a nuisance with emotion under every labelling, about 0 where there is none.

    It is (chi^2 / n - (r - 1)(c - 1) / (n - 1)) / (min(r, c) - 1) with r values and c emotions: the square of
    Cramer's V, less what it is by chance. Without that term a nuisance of many values would seem to predict
    any label.

    Source: Bergsma 2013, A bias-correction for Cramer's V and Tschuprow's T (the term that is subtracted).

    >>> association(np.array([0, 0, 1, 1]), np.array([[0, 0, 1, 1], [0, 1, 0, 1]])).round(3).tolist()
    [0.667, -0.333]
    """
    n, n_values, n_classes = len(codes), int(codes.max()) + 1, int(labels.max()) + 1
    if n_values == 1:
        return np.zeros(len(labels))
    is_value = (codes[:, None] == np.arange(n_values)).astype(np.float64)
    chi = np.zeros(len(labels))
    for klass in range(n_classes):
        mine = (labels == klass).astype(np.float64)
        seen = mine @ is_value
        expected = np.outer(mine.sum(axis=1), is_value.mean(axis=0))
        gap = (seen - expected) ** 2
        chi += np.divide(gap, expected, out=np.zeros_like(gap), where=expected > 0).sum(axis=1)
    by_chance = (n_values - 1) * (n_classes - 1) / (n - 1)
    return (chi / n - by_chance) / (min(n_values, n_classes) - 1)
