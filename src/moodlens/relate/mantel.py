"""Mantel tests: do states that are far apart belong to clips that sound different?

r is Pearson's correlation of the upper triangles of two distance matrices. p permutes the rows and columns of
one of them by whole units. There are three tests, each with its own null:
  simple     any unit is exchanged with any other: states are unrelated to the sound
  partial    the same, with the distance of a third site (the text) held linearly constant
  stratified pairs of one emotion only, around their group's mean, with units exchanged within it: no relation
             beyond the differences between emotions
Only units with equally many prompts are exchanged. The mean of fewer clips lies farther from all others at
every site at once; this is not an association but would look like one.

Source: Mantel 1967; Smouse, Long and Sokal 1986 (partial). The p of the partial test can be too small if the
third distance does not act linearly (Guillot and Rousset 2013), so it is shown but decides nothing. Checked
against scikit-bio `skbio.stats.distance.mantel`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must

FEWEST_UNITS = 5


@dataclass(frozen=True)
class Mantel:
    """Correlations under every order, the observed first; r.shape = (layer, perm)."""

    r: Float[np.ndarray, "layer perm"]
    partial: Float[np.ndarray, "layer perm"] | None  # given the third distance


def mantel(
    states: Float[np.ndarray, "layer unit unit"],
    sound: Float[np.ndarray, "unit unit"],
    order: Int[np.ndarray, "perm unit"],
    given: Float[np.ndarray, "unit unit"] | None = None,
    strata: Int[np.ndarray, " unit"] | None = None,
    sizes: Int[np.ndarray, " unit"] | None = None,
) -> Mantel:
    """Return the correlation of every layer's distances with the acoustic distances, acoustics relabelled.

    Args:
        states: distances at each layer.
        sound: distances of the acoustic descriptors.
        order: from `stats.permutation.unit_orders`.
        given: distances to hold constant (text encoder), or None.
        strata: emotion of each unit, to use only pairs of one emotion; `order` must stay within them.
        sizes: prompts of each unit; with `strata`, pairs are centred among pairs of equal sizes.

    Raises:
        ContractError: there are too few units, or all distances of a site are equal.
    """
    n = sound.shape[0]
    if n < FEWEST_UNITS:
        rule = f"have at least {FEWEST_UNITS} wordings"
        raise ContractError(must("a Mantel test", rule, n, next_step="Add prompts with other wordings"))
    rows, columns = np.triu_indices(n, 1)
    groups = np.zeros(len(rows), dtype=np.int64)
    if strata is not None:
        same = strata[rows] == strata[columns]
        rows, columns = rows[same], columns[same]
        both = np.zeros(len(rows)) if sizes is None else 1 / sizes[rows] + 1 / sizes[columns]
        groups = np.unique(np.stack([strata[rows], both]), axis=1, return_inverse=True)[1].ravel()
    x = _scores(states[:, rows, columns], groups, "states")
    y = _scores(sound[rows, columns][None], groups, "the sound")[0]
    square = np.zeros((n, n))
    square[rows, columns] = square[columns, rows] = y
    relabelled = square[order[:, rows], order[:, columns]]
    r = x @ relabelled.T
    if given is None:
        return Mantel(r, None)
    z = _scores(given[rows, columns][None], groups, "the text")[0]
    return Mantel(r, partial_correlation(r, (x @ z)[:, None], relabelled @ z))


def partial_correlation(
    r_xy: Float[np.ndarray, "layer perm"],
    r_xz: Float[np.ndarray, "layer 1"],
    r_yz: Float[np.ndarray, " perm"],
) -> Float[np.ndarray, "layer perm"]:
    """Return (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)); 0 where x or y is z."""
    scale = np.sqrt(np.clip(1 - r_xz**2, 0, None) * np.clip(1 - r_yz**2, 0, None))
    return np.divide(r_xy - r_xz * r_yz, scale, out=np.zeros_like(r_xy), where=scale > 1e-9)


def has_pairs_within(strata: Int[np.ndarray, " unit"]) -> bool:
    """Return whether a stratum has three units, the fewest whose pairs have more than one order."""
    return bool(np.bincount(strata).max() >= 3)


def _scores(
    values: Float[np.ndarray, "site pair"], groups: Int[np.ndarray, " pair"], name: str
) -> Float[np.ndarray, "site pair"]:
    """Return values minus their group's mean, scaled to length 1."""
    member = (groups[:, None] == np.unique(groups)).astype(np.float64)
    centred = values - (values @ member / member.sum(axis=0)) @ member.T
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    if (length <= 1e-12 * np.abs(values).max(axis=1, keepdims=True)).any():
        advice = "Check that the site varies between prompts"
        raise ContractError(must(f"distances of {name}", "differ", "one distance for all", next_step=advice))
    return centred / length
