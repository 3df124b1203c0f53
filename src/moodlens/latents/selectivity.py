"""Which units are selective for an emotion, and which of them chance would have made so.

A unit is anything that puts out values at or above zero: an SAE latent, half a dimension, a cluster. `pooled`
is its mean over the rows of a prompt. Its selectivity for an emotion is

    ratio = m_c / (m_others + 0.01 m_all)

with m_c the mean over the emotion's prompts, m_others the mean of the other emotions' means, m_all the mean
of all emotions' means. The last term keeps the ratio finite for a unit silent outside its emotion (four
emotions: at most 400). The user's counts are units with a best ratio above 2 and above 4. On few prompts a
unit that fires on one phrase passes both: the counts need p.

Do latents chosen on some wordings stay selective on wordings that nothing was chosen on?
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.stats.design import Design, design_of
from moodlens.stats.multiplicity import benjamini_hochberg
from moodlens.stats.permutation import p_values, relabellings

FLOOR = 0.01
"""Share of the overall mean in the denominator of the ratio."""
RATIOS = (2.0, 4.0)
"""Ratios whose counts are reported."""
BLOCK = 256
"""Units tested at a time: memory is n_permutations * BLOCK floats per emotion."""


@dataclass(frozen=True)
class Selectivity:
    """What every unit of one reading says of emotion."""

    emotion: Int[np.ndarray, " unit"]  # index of the emotion with the largest ratio
    ratio: Float[np.ndarray, " unit"]  # that ratio; 0 for a unit that never fires
    p: Float[np.ndarray, " unit"]  # whole wordings relabelled, best emotion of each relabelling; 1 untested
    q: Float[np.ndarray, " unit"]  # Benjamini-Hochberg over the tested units; 1 untested
    tested: Bool[np.ndarray, " unit"]

    def selective(self, fdr: float) -> Bool[np.ndarray, " unit"]:
        """Return the units with q below `fdr` and a ratio above the lower of `RATIOS`."""
        return (self.q < fdr) & (self.ratio > RATIOS[0])


@dataclass(frozen=True)
class Counts:
    """How many units of one reading are selective, by the naive measure and by the test."""

    n_units: int
    n_firing: int  # units that fire on some prompt
    n_tested: int
    n_over_2: int
    n_over_4: int
    n_selective: int
    n_selective_least: int  # of the emotion that has fewest


def ratios(
    pooled: Float[np.ndarray, "prompt unit"], labels: Int[np.ndarray, " prompt"], n_classes: int
) -> Float[np.ndarray, "klass unit"]:
    """Return the ratio of every emotion and unit; 0 where a unit never fires.

    >>> ratios(np.array([[4.0], [4.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]), 2).round(2).ravel().tolist()
    [3.9, 0.25]
    """
    means = np.stack([pooled[labels == klass].mean(axis=0) for klass in range(n_classes)])
    overall = means.mean(axis=0)
    others = (means.sum(axis=0) - means) / (n_classes - 1)
    floor = others + FLOOR * overall
    return np.divide(means, floor, out=np.zeros_like(means), where=floor > 0)


def wordings_fired(
    pooled: Float[np.ndarray, "prompt unit"], wordings: Int[np.ndarray, " prompt"]
) -> Int[np.ndarray, " unit"]:
    """Return on how many wordings each unit fires."""
    fired = np.zeros((int(wordings.max()) + 1, pooled.shape[1]), dtype=bool)
    np.logical_or.at(fired, wordings, pooled > 0)
    return fired.sum(axis=0)


def selectivity(
    pooled: Float[np.ndarray, "prompt unit"],
    design: Design,
    n_permutations: int,
    min_wordings: int,
    rng: np.random.Generator,
) -> Selectivity:
    """Return the selectivity of every unit with its p.

    The statistic is the largest difference, over emotions, between an emotion's mean and that of all other
    prompts; each relabelling of whole wordings gives its own largest. Units that fire on fewer than
    `min_wordings` wordings are not tested; that choice does not look at labels.

    Args:
        pooled: mean activation per prompt, zero or above.
        design: the same prompts.
        n_permutations: random relabellings beside the observed labelling.
        min_wordings: wordings on which a tested unit fires.
        rng: of the relabellings.
    """
    found = ratios(pooled, design.labels, design.n_classes)
    tested = wordings_fired(pooled, design.wordings) >= max(1, min_wordings)
    p = np.ones(pooled.shape[1])
    if tested.any():
        p[tested] = p_of_contrast(pooled[:, tested], design, n_permutations, rng)
    q = np.ones_like(p)
    if tested.any():
        q[tested] = benjamini_hochberg(p[tested])
    return Selectivity(found.argmax(axis=0), found.max(axis=0), p, q, tested)


def p_of_contrast(
    pooled: Float[np.ndarray, "prompt unit"], design: Design, n_permutations: int, rng: np.random.Generator
) -> Float[np.ndarray, " unit"]:
    """Return p of the largest emotion contrast of each unit, whole wordings relabelled."""
    n_wordings = int(design.wordings.max()) + 1
    sizes = np.bincount(design.wordings, minlength=n_wordings).astype(np.float64)
    sums = np.zeros((n_wordings, pooled.shape[1]))
    np.add.at(sums, design.wordings, pooled)
    table = relabellings(design.unit_labels("wording"), n_permutations, rng)
    given = [(table == klass).astype(np.float64) for klass in range(design.n_classes)]
    counts = [onehot @ sizes for onehot in given]
    total, n_prompts = sums.sum(axis=0), sizes.sum()
    p = np.empty(pooled.shape[1])
    for start in range(0, pooled.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        best = np.full((len(table), sums[:, part].shape[1]), -np.inf)
        for onehot, count in zip(given, counts, strict=True):
            inside = onehot @ sums[:, part]
            outside = (total[part] - inside) / (n_prompts - count)[:, None]
            np.maximum(best, inside / count[:, None] - outside, out=best)
        p[part] = p_values(best.T)
    return p


def counts_of(
    found: Selectivity, pooled: Float[np.ndarray, "prompt unit"], fdr: float, n_classes: int
) -> Counts:
    """Return the counts of one reading."""
    chosen = found.selective(fdr)
    per_emotion = np.bincount(found.emotion[chosen], minlength=n_classes)
    over = [int((found.ratio > ratio).sum()) for ratio in RATIOS]
    return Counts(
        n_units=len(found.ratio),
        n_firing=int((pooled > 0).any(axis=0).sum()),
        n_tested=int(found.tested.sum()),
        n_over_2=over[0],
        n_over_4=over[1],
        n_selective=int(chosen.sum()),
        n_selective_least=int(per_emotion.min()),
    )


N_CHANCE = 200
"""Relabellings of the held-out wordings that say what chance keeps."""


@dataclass(frozen=True)
class Transfer:
    """Selective latents of the seen wordings on held-out ones."""

    n_chosen: int  # selective on the seen wordings, and firing on a held-out one
    n_silent: int  # selective on the seen wordings, silent on all held-out ones
    kept: float | None  # share of n_chosen whose ratio for the same emotion is above 2; None: not measurable
    chance: float | None  # the same with the held-out wordings relabelled, mean over relabellings
    n_wordings: int  # held out


def transfer(
    pooled: Float[np.ndarray, "prompt unit"],
    design: Design,
    held_out: Bool[np.ndarray, " prompt"],
    fdr: float,
    n_permutations: int,
    min_wordings: int,
    rng: np.random.Generator,
) -> Transfer:
    """Choose selective units on the seen prompts, measure them on the held-out ones.

    Args:
        pooled: mean activation per prompt.
        design: all prompts.
        held_out: prompts of wordings that neither trained the SAE nor choose its latents.
        fdr, n_permutations, min_wordings: as in `selectivity`.
        rng: of the relabellings.
    """
    n_wordings = len(np.unique(design.wordings[held_out]))
    left = np.bincount(design.labels[~held_out], minlength=design.n_classes)
    if not held_out.any() or left.min() < 2:  # too few prompts to choose on, or nothing to look at
        return Transfer(0, 0, None, None, n_wordings)
    seen = part_of(design, ~held_out)
    rows = pooled[~held_out]
    share = ratios(rows, seen.labels, seen.n_classes)
    tested = wordings_fired(rows, seen.wordings) >= max(1, min_wordings)
    q = np.ones(pooled.shape[1])
    if tested.any():
        q[tested] = benjamini_hochberg(p_of_contrast(rows[:, tested], seen, n_permutations, rng))
    chosen = (q < fdr) & (share.max(axis=0) > RATIOS[0])
    emotion = share.argmax(axis=0)
    there = pooled[held_out]
    firing = (there > 0).any(axis=0)
    labels, wordings = design.labels[held_out], design.wordings[held_out]
    n_chosen, n_silent = int((chosen & firing).sum()), int((chosen & ~firing).sum())
    if not n_chosen:
        return Transfer(0, n_silent, None, None, n_wordings)
    units, wanted = there[:, chosen & firing], emotion[chosen & firing]
    _, place = np.unique(wordings, return_inverse=True)
    first = np.unique(place, return_index=True)[1]
    table = relabellings(labels[first], N_CHANCE, rng)[:, place]
    kept = np.array([_kept(units, wanted, row, design.n_classes) for row in table])
    return Transfer(n_chosen, n_silent, float(kept[0]), float(kept[1:].mean()), n_wordings)


def part_of(design: Design, mask: Bool[np.ndarray, " prompt"]) -> Design:
    """Return the design of some of the prompts; every emotion must keep at least two."""
    keep = np.flatnonzero(mask)
    return design_of(
        [design.prompt_ids[i] for i in keep],
        [design.emotions[design.labels[i]] for i in keep],
        [str(design.wordings[i]) for i in keep],
    )


def _kept(
    units: Float[np.ndarray, "prompt unit"],
    wanted: Int[np.ndarray, " unit"],
    labels: Int[np.ndarray, " prompt"],
    n_classes: int,
) -> float:
    """Share of units whose ratio for their emotion is above 2; an emotion that is not there keeps none."""
    present = [klass for klass in range(n_classes) if (labels == klass).any()]
    if len(present) < 2:
        return 0.0
    index = np.array([present.index(label) for label in labels])
    found = np.zeros((n_classes, units.shape[1]))
    found[present] = ratios(units, index, len(present))
    return float((found[wanted, np.arange(units.shape[1])] > RATIOS[0]).mean())
