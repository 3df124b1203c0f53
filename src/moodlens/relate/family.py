"""Tests of a family of sites (all layers, untrained twins, baselines) against the acoustic descriptors.

Mantel tests ask whether states that are far apart belong to clips that sound different. r is Pearson's
correlation of the upper triangles of two distance matrices. p permutes the rows and columns of one of them
by whole units. There are three tests, each with its own null:
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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.base.errors import Unsupported, must
from moodlens.relate.descriptor_regression import between_wordings, normal_scores, within_prompts
from moodlens.relate.matching import matched_effects
from moodlens.stats.gram import SiteGram, centred, group_means, prompt_grams, squared_distances
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import crossed, p_values, unit_orders

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
        raise Unsupported(must("a Mantel test", rule, n, next_step="Add prompts with other wordings"))
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
        raise Unsupported(must(f"distances of {name}", "differ", "one distance for all", next_step=advice))
    return centred / length


@dataclass(frozen=True)
class Tested:
    """Estimates of a family with their p; arrays are (site,) or (site, descriptor)."""

    estimate: np.ndarray
    p: np.ndarray
    p_max: np.ndarray  # maxT over the family (and its descriptors)


@dataclass(frozen=True)
class Distances:
    """Mantel tests of a family; `partial` is None if no text is given."""

    simple: Tested
    within_emotion: Tested | None  # None where no emotion has three units
    partial: Tested | None


@dataclass(frozen=True)
class Matched:
    """The effect of emotion on clearly matching clips, beside the effect of the selection alone."""

    effect: Tested
    effect_all: np.ndarray  # (site,) with every clip
    null: np.ndarray  # (site,) mean over relabellings, clips selected anew


def judged(statistics: Float[np.ndarray, "*shape perm"]) -> Tested:
    """Return estimate, p and maxT p; relabellings under which a statistic is undefined are left out.

    >>> judged(np.array([[3.0, 1.0, np.nan, 2.0]])).p.round(3).tolist()
    [0.333]
    """
    flat = statistics.reshape(-1, statistics.shape[-1])
    defined = flat[:, np.isfinite(flat).all(axis=0)]
    shape = statistics.shape[:-1]
    return Tested(statistics[..., 0], p_values(defined).reshape(shape), max_t(defined).reshape(shape))


def wording_grams(
    sites: Sequence[SiteGram], wordings: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, "site wording wording"]:
    """Return the centred Gram matrices of the wordings' means, mean diagonal 1, stacked over sites."""
    grams = centred(group_means(prompt_grams(sites), wordings))
    return grams / np.trace(grams, axis1=1, axis2=2)[:, None, None] * grams.shape[1]


def distance_tests(
    grams: Float[np.ndarray, "site unit unit"],
    sound: Float[np.ndarray, "unit unit"],
    text: Float[np.ndarray, "unit unit"] | None,
    emotions: Int[np.ndarray, " unit"],
    sizes: Int[np.ndarray, " unit"],
    n_permutations: int,
    rng: np.random.Generator,
) -> Distances:
    """Return the three Mantel tests of every site.

    Args:
        grams: Gram matrices of the sites.
        sound, text: Gram matrices of the descriptors and of the text encoder, or None.
        emotions: emotion of each unit, the strata of `within_emotion`.
        sizes: prompts of each unit; only units of equal size are exchanged.
        n_permutations, rng: of the relabellings.
    """
    acoustic = np.sqrt(squared_distances(sound))
    states = np.sqrt(squared_distances(grams))
    given = None if text is None else np.sqrt(squared_distances(text))
    simple = mantel(states, acoustic, unit_orders(len(sound), n_permutations, rng, sizes), given)
    within, strata = None, crossed(emotions, sizes)
    if has_pairs_within(strata):
        order = unit_orders(len(sound), n_permutations, rng, strata)
        within = judged(mantel(states, acoustic, order, strata=emotions, sizes=sizes).r)
    return Distances(judged(simple.r), within, None if simple.partial is None else judged(simple.partial))


def matched_test(
    sites: Sequence[SiteGram],
    matched: Bool[np.ndarray, "perm clip"],
    units: Int[np.ndarray, " clip"],
    labels: Int[np.ndarray, "perm unit"],
) -> Matched | None:
    """Return the effect on matching clips, or None if there are too few of them."""
    grams = np.stack([site.values for site in sites])
    effects = matched_effects(grams, matched, units, labels).effect
    if not np.isfinite(effects[:, 0]).all() or np.isfinite(effects).all(axis=0).sum() < 2:
        return None
    whole = matched_effects(grams, np.ones((1, len(units)), dtype=bool), units, labels[:1]).effect[:, 0]
    return Matched(judged(effects), whole, np.nanmean(effects[:, 1:], axis=1))


def descriptor_tests(
    sites: Sequence[SiteGram],
    units: Float[np.ndarray, "site unit unit"],
    descriptors: Float[np.ndarray, "clip descriptor"],
    wordings: Int[np.ndarray, " clip"],
    folds: Int[np.ndarray, " unit"],
    sizes: Int[np.ndarray, " unit"],
    ridge: float,
    n_permutations: int,
    rng: np.random.Generator,
) -> tuple[Tested, Tested | None]:
    """Return the R2 of every site and descriptor, between wordings and within prompts.

    Args:
        sites: Gram matrices of the sites; without a row per clip there is no result within prompts.
        units: Gram matrices of the wordings' means at the same sites.
        descriptors: one row per clip, in the order of the sites' rows; used as normal scores.
        wordings: the wording of each clip.
        folds: fold of each wording.
        sizes: prompts of each wording; only wordings of equal size are exchanged.
        ridge: penalty.
        n_permutations, rng: of the relabellings.
    """
    weights = (wordings[None, :] == np.arange(len(folds))[:, None]).astype(np.float64)
    scores = normal_scores(descriptors)
    means = weights @ scores / weights.sum(axis=1, keepdims=True)
    between = judged(between_wordings(units, means, folds, sizes, ridge, n_permutations, rng).r2)
    if any(len(site.prompts) != len(descriptors) for site in sites):
        return between, None
    grams = np.stack([site.values for site in sites])
    within = within_prompts(grams, scores, sites[0].prompts, folds[wordings], ridge, n_permutations, rng)
    return between, None if within is None else judged(within.r2)
