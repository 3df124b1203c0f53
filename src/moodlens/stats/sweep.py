"""All tests of one family of sites (all layers, both text sites, ...), as one record per site.

The statistic of location (pseudo-F or W_d*, `stats.location`), effect and p of each site come from its Gram
matrix. maxT and Benjamini-Hochberg cover the family; both run over standardised statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.stats.bootstrap import resamples
from moodlens.stats.design import Design, Unit
from moodlens.stats.equivalence import injection_power, units_needed
from moodlens.stats.gram import SiteGram, centred, cosines, group_means, prompt_grams
from moodlens.stats.location import Statistic, choices, location_statistics
from moodlens.stats.multiplicity import benjamini_hochberg, max_t, standard_scores
from moodlens.stats.permutation import fixed_units, p_values
from moodlens.stats.similarity import Effect, NaiveT, centred_cosines, emotion_effect, naive_t, prompt_icc


@dataclass(frozen=True)
class SweepSettings:
    """Settings of a sweep."""

    n_permutations: int
    n_bootstrap: int
    confidence: float
    delta: float  # effect, share of variance, that "none" must exclude
    alpha: float  # level of the test that "none" relies on
    power: float  # requested power, for `n_needed`
    seed: int


@dataclass(frozen=True)
class UnitTest:
    """The test of location of one site, labels permuted over whole units."""

    f: float  # pseudo-F or W_d*
    statistic: Statistic
    p_dispersion: float  # PERMDISP, which with the group sizes chose the statistic
    p: float
    p_max: float  # maxT over the family
    q: float  # Benjamini-Hochberg over the family


@dataclass(frozen=True)
class SiteSignal:
    """Results at one site."""

    site: str
    test: UnitTest
    effect: Effect  # centred cosines; intervals resample whole units
    raw: Effect  # cosines as they are, for comparison
    icc: float | None
    naive: NaiveT


@dataclass(frozen=True)
class Equivalence:
    """Power of the family's test, and the prompts it needs for the requested power."""

    power: float  # at the weakest site
    weakest: str
    n_needed: int | None  # prompts per emotion for the requested power; None: more than can be simulated
    units_needed: int | None  # the same in units per emotion
    smallest_p: float
    n_fixed: int  # units that no relabelling moves, because they are alone of their size in their stratum


@dataclass(frozen=True)
class FamilySignal:
    """A family of sites, in the order given; `best` has the largest standardised statistic, as in maxT."""

    unit: Unit
    sites: tuple[SiteSignal, ...]
    best: SiteSignal
    equivalence: Equivalence


def sweep(
    name: str,
    sites: Sequence[SiteGram],
    design: Design,
    settings: SweepSettings,
    unit: Unit = "wording",
) -> FamilySignal:
    """Return the signal of a family of sites.

    Args:
        name: of the family; with `settings.seed` it seeds the relabellings, so that families are independent.
        sites: Gram matrices over the prompts of `design`.
        design: emotion and wording of every prompt.
        settings: counts, levels and seed.
        unit: relabelled and resampled as a whole.
    """
    grams = prompt_grams(sites)
    rng = rng_for("signal", name, unit, settings.seed)
    table = design.relabellings(unit, settings.n_permutations, rng)
    units = centred(group_means(grams, design.members(unit)))
    chosen = choices(units, table)
    kinds: list[Statistic] = [choice.statistic for choice in chosen]
    f = location_statistics(units, table, kinds)
    p, adjusted = p_values(f), max_t(f)
    q = benjamini_hochberg(p)
    best = int(standard_scores(f)[:, 0].argmax())
    equivalence = _equivalence(sites, units, design, unit, table, f, kinds, settings, rng)
    counts = resamples(
        design, unit, settings.n_bootstrap, rng_for("signal", name, "bootstrap", settings.seed)
    )
    signals = []
    for i, site in enumerate(sites):
        similarity = centred_cosines(site)
        signals.append(
            SiteSignal(
                site.site,
                UnitTest(
                    float(f[i, 0]),
                    kinds[i],
                    chosen[i].p_dispersion,
                    float(p[i]),
                    float(adjusted[i]),
                    float(q[i]),
                ),
                emotion_effect(similarity, site.prompts, design.labels, counts, settings.confidence),
                emotion_effect(
                    cosines(site.values), site.prompts, design.labels, counts, settings.confidence
                ),
                prompt_icc(site, design.labels),
                naive_t(similarity, site.prompts, design.labels),
            )
        )
    return FamilySignal(unit, tuple(signals), signals[best], equivalence)


def _equivalence(
    sites: Sequence[SiteGram],
    units: Float[np.ndarray, "site unit unit"],
    design: Design,
    unit: Unit,
    table: Int[np.ndarray, "perm unit"],
    f: Float[np.ndarray, "site perm"],
    kinds: Sequence[Statistic],
    settings: SweepSettings,
    rng: np.random.Generator,
) -> Equivalence:
    power = injection_power(units, table, f, settings.delta, settings.alpha, rng, kinds=kinds)
    blocks = design.blocks(unit)
    needed = units_needed(
        units[power.weakest], design.n_classes, settings.delta, power.alpha_layer, settings.power, blocks
    )
    per_unit = design.n_prompts / table.shape[1]
    return Equivalence(
        power.power,
        sites[power.weakest].site,
        None if needed is None else int(np.ceil(needed * per_unit)),
        needed,
        design.smallest_p(unit, settings.n_permutations),
        fixed_units(design.unit_labels(unit), blocks),
    )
