"""Do latents chosen on some wordings stay selective on wordings that nothing was chosen on?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.latents.selectivity import RATIOS, p_of_contrast, ratios, wordings_fired
from moodlens.stats.design import Design, design_of
from moodlens.stats.multiplicity import benjamini_hochberg
from moodlens.stats.permutation import relabellings

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
