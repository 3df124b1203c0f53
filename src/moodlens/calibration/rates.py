"""Error rates of tests on simulated data: false alarms without effect, detection of planted effects.

Every rate has an exact binomial interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats as scipy_stats

from moodlens.base.errors import ContractError, must
from moodlens.calibration.simulate import Instrument, Promise, Sample, World, design_for, f_table, sample
from moodlens.stats.design import Unit
from moodlens.stats.equivalence import injection_power
from moodlens.stats.gram import centred, group_means
from moodlens.stats.multiplicity import max_t, standard_scores
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings

CONFIDENCE = 0.99
POWER_LOST = 0.02
"""Rate of a test at level .05 below which it loses power and needs a reason."""

Verdict = Literal["ok", "too liberal", "conservative", "not valid"]


@dataclass(frozen=True)
class Rate:
    """A share of simulations with its exact (Clopper-Pearson) interval at `CONFIDENCE`."""

    n: int
    hits: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.hits / self.n


@dataclass(frozen=True)
class Alarms:
    """The error rate of one test in one world without effect."""

    name: str  # of the test, and of the null where it has one
    promise: Promise
    n_prompts: int
    n_clips: int  # in all
    icc: float
    rate: Rate
    verdict: Verdict
    reason: str


def rate_of(hits: Sequence[bool] | np.ndarray) -> Rate:
    """Return the rate of hits with its exact interval.

    >>> rate = rate_of([True] * 5 + [False] * 95)
    >>> round(rate.low, 4), round(rate.high, 4)
    (0.0109, 0.1351)
    """
    n, k = len(hits), int(np.sum(hits))
    bounds = scipy_stats.binomtest(k, n).proportion_ci(CONFIDENCE, method="exact")
    return Rate(n, k, float(bounds.low), float(bounds.high))


def verdict_on(rate: Rate, test: Promise) -> tuple[Verdict, str]:
    """Return the verdict on a test that should alarm at `test.level`, and its reason.

    A test is too liberal if the level lies below the interval of its rate. It is conservative if its rate is
    below `POWER_LOST` (scaled to its level), or if the level lies above the interval; the reason is that of
    the test, or "no reason known".
    """
    if not test.carries_claim:
        return "not valid", "shown because it is common; carries no claim"
    if rate.low > test.level:
        return "too liberal", f"more than {test.level:g} beyond chance"
    lost = min(POWER_LOST, test.level * POWER_LOST / 0.05)
    if rate.value < lost or rate.high < test.level:
        return "conservative", test.why_conservative or "no reason known"
    return "ok", ""


def alarm_rates(
    instruments: Sequence[Instrument], base: World, n_sims: int, seeds: Sequence[np.random.Generator]
) -> list[Alarms]:
    """Return the error rate of every instrument on `n_sims` datasets without effect.

    Args:
        instruments: from `calibration.instruments`; each names the kind of data that it is run on.
        base: prompts, clips and ICC; wordings and layers are set by each instrument's `setting`.
        n_sims: datasets.
        seeds: one generator per dataset, so that a dataset does not depend on how many there are.

    Raises:
        ContractError: fewer generators than datasets.
    """
    if len(seeds) < n_sims:
        raise ContractError(
            must("generators", f"be {n_sims}, one per dataset", len(seeds), next_step="Pass more")
        )
    worlds = {instrument.setting: instrument.setting.of(base) for instrument in instruments}
    designs = {setting: design_for(world) for setting, world in worlds.items()}
    alarms = {instrument.name: np.zeros(n_sims, dtype=bool) for instrument in instruments}
    for sim in range(n_sims):
        rng = seeds[sim]
        data: dict[object, Sample] = {s: sample(worlds[s], designs[s], rng) for s in worlds}
        for instrument in instruments:
            p = instrument.p(data[instrument.setting], rng)
            alarms[instrument.name][sim] = p <= instrument.level
    return [
        alarms_of(instrument.name, instrument, worlds[instrument.setting], alarms[instrument.name])
        for instrument in instruments
    ]


def alarms_of(name: str, promise: Promise, world: World, alarms: Sequence[bool] | np.ndarray) -> Alarms:
    """Return the error rate of a test from its alarms, one per dataset of a world without effect."""
    rate = rate_of(alarms)
    n_clips = world.n_prompts * world.n_clips
    return Alarms(name, promise, world.n_prompts, n_clips, world.icc, rate, *verdict_on(rate, promise))


N_PERMUTATIONS = 199
N_INJECTIONS = 100
"""Per layer; the pipeline draws 500. With fewer the estimate of power is noisier, so that a wrong "none" is
rather more frequent than in the pipeline."""


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
    """Return how often PERMANOVA by prompt detects the effect planted in a single layer."""
    design = design_for(world)
    return rate_of(
        [p_values(f_table(sample(world, design, rng), "prompt", 1, rng))[0] <= alpha for rng in rngs]
    )


def detected_in_layer(
    world: World, unit: Unit, alpha: float, rngs: Sequence[np.random.Generator]
) -> tuple[Rate, Rate]:
    """Return how often any layer passes maxT, and how often the planted one does and has the largest F."""
    design = design_for(world)
    anywhere, in_layer = [], []
    for rng in rngs:
        f = f_table(sample(world, design, rng), unit, world.n_layers, rng)
        adjusted = max_t(f)
        anywhere.append(bool(adjusted.min() <= alpha))
        largest = int(standard_scores(f)[:, 0].argmax())
        in_layer.append(bool(largest == world.planted_layer and adjusted[largest] <= alpha))
    return rate_of(anywhere), rate_of(in_layer)


def none_claimed(
    world: World, delta: float, alpha: float, wanted: float, rngs: Sequence[np.random.Generator]
) -> tuple[Rate, float]:
    """Return how often the verdict is "none" although one layer holds `delta`, and the mean power claimed.

    "None" needs maxT p >= alpha and `wanted` power against `delta` by injection. The ladder also needs the
    probe to agree, so that its verdict is "none" at most this often.

    Args:
        world: without effect; the effect is planted in its first layer.
        delta: share of the variance between prompt means, as in `stats.equivalence`.
        alpha, wanted: of the procedure; the error is bounded by 1 - wanted.
        rngs: one per dataset.
    """
    planted = replace(world, planted=clip_share(delta, world.icc, world.n_clips), planted_layer=0)
    design = design_for(planted)
    none, claimed = [], []
    for rng in rngs:
        grams = sample(planted, design, rng).grams
        units = centred(group_means(grams, design.members("prompt")))
        table = relabellings(design.unit_labels("prompt"), N_PERMUTATIONS, rng)
        f = pseudo_f(units, table)
        injected = injection_power(units, table, f, delta, alpha, rng, N_INJECTIONS)
        none.append(bool(max_t(f).min() >= alpha and injected.power >= wanted))
        claimed.append(injected.power)
    return rate_of(none), float(np.mean(claimed))
