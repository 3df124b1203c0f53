"""What the tests see of effects that were planted: power, the right layer, and false words of "none"."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from moodlens.calibration.instrument import f_table
from moodlens.calibration.rates import Rate, rate_of
from moodlens.calibration.simulate import World, design_for, sample
from moodlens.stats.design import Unit
from moodlens.stats.equivalence import injection_power
from moodlens.stats.gram import centred, group_means
from moodlens.stats.multiplicity import max_t, standard_scores
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings

N_PERMUTATIONS = 199
N_INJECTIONS = 100
"""Per layer; the pipeline draws 500. Fewer make the estimate of power noisier, so that "none" is said wrongly
rather more often than in the pipeline."""


def unit_share(share: float, icc: float, n_clips: int) -> float:
    """Return the share of the variance between prompt means for a share of the variance between clips.

    >>> round(unit_share(0.05, icc=0.3, n_clips=2), 4)
    0.0749
    """
    ratio = share / (1 - share)
    return ratio / (ratio + icc + (1 - icc) / n_clips)


def clip_share(share: float, icc: float, n_clips: int) -> float:
    """Return the inverse of `unit_share`.

    >>> round(clip_share(unit_share(0.05, 0.3, 2), 0.3, 2), 6)
    0.05
    """
    ratio = share / (1 - share) * (icc + (1 - icc) / n_clips)
    return ratio / (1 + ratio)


def power(world: World, alpha: float, rngs: Sequence[np.random.Generator]) -> Rate:
    """Return how often PERMANOVA by prompt finds the effect planted in a single layer."""
    design = design_for(world)
    return rate_of(
        [p_values(f_table(sample(world, design, rng), "prompt", 1, rng))[0] <= alpha for rng in rngs]
    )


def found_in_place(
    world: World, unit: Unit, alpha: float, rngs: Sequence[np.random.Generator]
) -> tuple[Rate, Rate]:
    """Return how often any layer passes maxT, and how often the planted one does and has the largest F."""
    design = design_for(world)
    anywhere, in_place = [], []
    for rng in rngs:
        f = f_table(sample(world, design, rng), unit, world.n_layers, rng)
        adjusted = max_t(f)
        anywhere.append(bool(adjusted.min() <= alpha))
        largest = int(standard_scores(f)[:, 0].argmax())
        in_place.append(bool(largest == world.planted_layer and adjusted[largest] <= alpha))
    return rate_of(anywhere), rate_of(in_place)


def none_said(
    world: World, delta: float, alpha: float, wanted: float, rngs: Sequence[np.random.Generator]
) -> tuple[Rate, float]:
    """Return how often "none" is said although one layer holds `delta`, and the mean power claimed.

    "None" needs maxT p >= alpha and `wanted` power against `delta` by injection. The ladder asks the probe,
    too, so that it says "none" at most this often.

    Args:
        world: without effect; the effect is planted in its first layer.
        delta: share of the variance between prompt means, as in `stats.equivalence`.
        alpha, wanted: of the procedure; the error is bounded by 1 - wanted.
        rngs: one per dataset.
    """
    planted = replace(world, planted=clip_share(delta, world.icc, world.n_clips), planted_layer=0)
    design = design_for(planted)
    said, claimed = [], []
    for rng in rngs:
        grams = sample(planted, design, rng).grams
        units = centred(group_means(grams, design.members("prompt")))
        table = relabellings(design.unit_labels("prompt"), N_PERMUTATIONS, rng)
        f = pseudo_f(units, table)
        seen = injection_power(units, table, f, delta, alpha, rng, N_INJECTIONS)
        said.append(bool(max_t(f).min() >= alpha and seen.power >= wanted))
        claimed.append(seen.power)
    return rate_of(said), float(np.mean(claimed))
