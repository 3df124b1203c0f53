"""Which units are selective for an emotion, tested against relabelled wordings and on held-out wordings.

A unit is anything that puts out values at or above zero: an SAE latent, half a dimension, a cluster. `pooled`
is the mean of a unit over the rows of a prompt. The selectivity of a unit for an emotion is

    ratio = m_c / (m_others + 0.01 m_all)

with m_c the mean over the emotion's prompts, m_others the mean of the other emotions' means, and m_all the
mean of all emotions' means. The last term keeps the ratio finite for a unit that is silent outside its
emotion (at most 400 with four emotions).

Two simple counts are reported: units whose best ratio is above 2 and above 4. On few prompts a unit that
fires on a single phrase passes both thresholds. Counts describe a site and are no evidence, the count of
selective units neither: where emotion is widespread, random directions pass as often. Evidence is in
`sparse_probe`, `perturbation`, `factors` and `absorption`.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.base.seeding import rng_for
from moodlens.stats.design import Design, blocks_of, design_of
from moodlens.stats.multiplicity import benjamini_hochberg
from moodlens.stats.permutation import p_values, relabellings

FLOOR = 0.01
"""Share of the overall mean in the denominator of the ratio."""
RATIOS = (2.0, 4.0)
"""Ratios whose counts are reported."""
BLOCK = 256
"""Units tested at a time. Memory is n_permutations * BLOCK floats per emotion."""
N_SHUFFLES = 5
"""Label shuffles that the counts of shuffled labels are averaged over."""
N_CHANCE = 200
"""Relabellings of the held-out wordings that give the chance level of transfer."""


@dataclass(frozen=True)
class SelectivitySettings:
    """How selectivity is tested."""

    n_permutations: int  # random relabellings beside the observed labelling
    min_wordings: int  # wordings on which a tested unit fires
    fdr: float
    seed: int


@dataclass(frozen=True)
class Selectivity:
    """Selectivity of every unit of one kind."""

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
    """How many units of one kind are selective, by ratio alone and by the test."""

    n_units: int
    n_firing: int  # units that fire on some prompt
    n_tested: int
    n_over_2: int
    n_over_4: int
    n_selective: int
    n_selective_least: int  # of the emotion that has fewest


@dataclass(frozen=True)
class UnitResult:
    """One kind of unit at one site."""

    counts: Counts
    selectivity: Selectivity


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
    """Return the number of wordings on which each unit fires."""
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
    """Return the selectivity of every unit with its p and q.

    The test statistic is the largest difference, over emotions, between the mean of an emotion's prompts and
    the mean of all other prompts. Every relabelling of whole wordings gives its own largest difference.
    Labels move between wordings of one size. Units that fire on fewer than `min_wordings` wordings are not
    tested; this choice does not use the labels.

    Args:
        pooled: mean activation per prompt, zero or above.
        design: the same prompts.
        n_permutations: random relabellings beside the observed labelling.
        min_wordings: wordings on which a tested unit fires.
        rng: draws the relabellings.
    """
    by_emotion = ratios(pooled, design.labels, design.n_classes)
    tested = wordings_fired(pooled, design.wordings) >= max(1, min_wordings)
    p = np.ones(pooled.shape[1])
    q = np.ones_like(p)
    if tested.any():
        p[tested] = p_of_contrast(pooled[:, tested], design, n_permutations, rng)
        q[tested] = benjamini_hochberg(p[tested])
    return Selectivity(by_emotion.argmax(axis=0), by_emotion.max(axis=0), p, q, tested)


def p_of_contrast(
    pooled: Float[np.ndarray, "prompt unit"], design: Design, n_permutations: int, rng: np.random.Generator
) -> Float[np.ndarray, " unit"]:
    """Return p of each unit's largest emotion contrast, from relabelling whole wordings."""
    n_wordings = int(design.wordings.max()) + 1
    sizes = np.bincount(design.wordings, minlength=n_wordings).astype(np.float64)
    sums = np.zeros((n_wordings, pooled.shape[1]))
    np.add.at(sums, design.wordings, pooled)
    blocks = design.blocks("wording")
    table = relabellings(design.unit_labels("wording"), n_permutations, rng, blocks)
    one_hots = [(table == klass).astype(np.float64) for klass in range(design.n_classes)]
    counts = [one_hot @ sizes for one_hot in one_hots]
    total, n_prompts = sums.sum(axis=0), sizes.sum()
    p = np.empty(pooled.shape[1])
    for start in range(0, pooled.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        best = np.full((len(table), sums[:, part].shape[1]), -np.inf)
        for one_hot, count in zip(one_hots, counts, strict=True):
            inside = one_hot @ sums[:, part]
            outside = (total[part] - inside) / (n_prompts - count)[:, None]
            np.maximum(best, inside / count[:, None] - outside, out=best)
        p[part] = p_values(best.T)
    return p


def counts_of(
    result: Selectivity, pooled: Float[np.ndarray, "prompt unit"], fdr: float, n_classes: int
) -> Counts:
    """Return the counts of one kind of unit."""
    selective = result.selective(fdr)
    per_emotion = np.bincount(result.emotion[selective], minlength=n_classes)
    over = [int((result.ratio > ratio).sum()) for ratio in RATIOS]
    return Counts(
        n_units=len(result.ratio),
        n_firing=int((pooled > 0).any(axis=0).sum()),
        n_tested=int(result.tested.sum()),
        n_over_2=over[0],
        n_over_4=over[1],
        n_selective=int(selective.sum()),
        n_selective_least=int(per_emotion.min()),
    )


def measure(
    pooled: Float[np.ndarray, "prompt unit"], design: Design, settings: SelectivitySettings
) -> UnitResult:
    """Return selectivity and counts of one kind of unit.

    The relabellings depend on the seed alone, so that all kinds of units see the same ones.
    """
    rng = rng_for("selectivity", settings.seed)
    result = selectivity(pooled, design, settings.n_permutations, settings.min_wordings, rng)
    return UnitResult(counts_of(result, pooled, settings.fdr, design.n_classes), result)


def shuffled_counts(
    pooled: Float[np.ndarray, "prompt unit"], design: Design, settings: SelectivitySettings
) -> dict[str, float]:
    """Return mean counts over N_SHUFFLES random assignments of whole wordings to emotions."""
    labels = design.unit_labels("wording")
    rng, blocks = rng_for("shuffled labels", settings.seed), design.blocks("wording")
    table = relabellings(labels, N_SHUFFLES, rng, blocks)[1:]
    counts = [
        measure(pooled, replace(design, labels=row[design.wordings].astype(np.int64)), settings).counts
        for row in table
    ]
    names = ("n_over_2", "n_over_4", "n_selective")
    return {name: float(np.mean([getattr(count, name) for count in counts])) for name in names}


@dataclass(frozen=True)
class Transfer:
    """Latents selective on the seen wordings, measured on held-out wordings."""

    n_chosen: int  # selective on the seen wordings, and firing on a held-out one
    n_silent: int  # selective on the seen wordings, silent on all held-out ones
    kept: float | None  # share of n_chosen whose ratio for the same emotion is above 2; None: not measurable
    chance: float | None  # the same with the held-out wordings relabelled, mean over relabellings
    n_wordings: int  # held out


def transfer(
    pooled: Float[np.ndarray, "prompt unit"],
    design: Design,
    held_out: Bool[np.ndarray, " prompt"],
    settings: SelectivitySettings,
    rng: np.random.Generator,
) -> Transfer:
    """Choose selective units on the seen prompts and measure them on the held-out prompts.

    Args:
        pooled: mean activation per prompt.
        design: all prompts.
        held_out: prompts of wordings that neither trained the SAE nor chose its latents.
        settings: as in `measure`; the seed is not used.
        rng: draws the relabellings.
    """
    n_wordings = len(np.unique(design.wordings[held_out]))
    n_seen = np.bincount(design.labels[~held_out], minlength=design.n_classes)
    if not held_out.any() or n_seen.min() < 2:  # nothing to measure on, or too few prompts to choose on
        return Transfer(0, 0, None, None, n_wordings)
    seen = part_of(design, ~held_out)
    on_seen = selectivity(pooled[~held_out], seen, settings.n_permutations, settings.min_wordings, rng)
    chosen = on_seen.selective(settings.fdr)
    on_held_out = pooled[held_out]
    firing = (on_held_out > 0).any(axis=0)
    n_chosen, n_silent = int((chosen & firing).sum()), int((chosen & ~firing).sum())
    if not n_chosen:
        return Transfer(0, n_silent, None, None, n_wordings)
    units, emotions = on_held_out[:, chosen & firing], on_seen.emotion[chosen & firing]
    _, first, wording_of = np.unique(design.wordings[held_out], return_index=True, return_inverse=True)
    blocks = blocks_of(wording_of)
    table = relabellings(design.labels[held_out][first], N_CHANCE, rng, blocks)[:, wording_of]
    kept = np.array([_share_kept(units, emotions, labels, design.n_classes) for labels in table])
    return Transfer(n_chosen, n_silent, float(kept[0]), float(kept[1:].mean()), n_wordings)


def part_of(design: Design, mask: Bool[np.ndarray, " prompt"]) -> Design:
    """Return the design of some of the prompts; every emotion must keep at least two."""
    keep = np.flatnonzero(mask)
    return design_of(
        [design.prompt_ids[i] for i in keep],
        [design.emotions[design.labels[i]] for i in keep],
        [str(design.wordings[i]) for i in keep],
    )


def _share_kept(
    units: Float[np.ndarray, "prompt unit"],
    emotions: Int[np.ndarray, " unit"],
    labels: Int[np.ndarray, " prompt"],
    n_classes: int,
) -> float:
    """Return the share of units whose ratio for their emotion is above 2; 0 for an absent emotion."""
    present = [klass for klass in range(n_classes) if (labels == klass).any()]
    if len(present) < 2:
        return 0.0
    index = np.array([present.index(label) for label in labels])
    by_emotion = np.zeros((n_classes, units.shape[1]))
    by_emotion[present] = ratios(units, index, len(present))
    return float((by_emotion[emotions, np.arange(units.shape[1])] > RATIOS[0]).mean())


def survival(own: Selectivity, null: Selectivity, fdr: float) -> Bool[np.ndarray, " unit"]:
    """Return the units that are selective for the same emotion under own text and under null text."""
    return own.selective(fdr) & null.selective(fdr) & (own.emotion == null.emotion)
