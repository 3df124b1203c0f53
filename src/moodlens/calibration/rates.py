"""How often a test alarms when there is nothing: rates, exact binomial bounds, what they say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats as scipy_stats

from moodlens.base.errors import ContractError, must
from moodlens.calibration.instrument import Instrument
from moodlens.calibration.simulate import Sample, World, design_for, sample

CONFIDENCE = 0.99
POWER_LOST = 0.02
"""A rate below this loses power and needs a reason."""

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

    instrument: Instrument
    world: World
    rate: Rate
    verdict: Verdict
    reason: str


def rate_of(hits: Sequence[bool] | np.ndarray) -> Rate:
    """Return the rate of hits with its exact interval.

    >>> found = rate_of([True] * 5 + [False] * 95)
    >>> round(found.low, 4), round(found.high, 4)
    (0.0109, 0.1351)
    """
    n, k = len(hits), int(np.sum(hits))
    found = scipy_stats.binomtest(k, n).proportion_ci(CONFIDENCE, method="exact")
    return Rate(n, k, float(found.low), float(found.high))


def verdict_on(rate: Rate, instrument: Instrument) -> tuple[Verdict, str]:
    """Return what a rate says of a test that should alarm at `instrument.level`.

    Too liberal: the level lies below the interval. Conservative: the rate is below `POWER_LOST`, or the level
    lies above the interval; the reason is the one the registry states, or that there is none.
    """
    if not instrument.carries_claim:
        return "not valid", "shown because it is common; carries no claim"
    if rate.low > instrument.level:
        return "too liberal", f"more than {instrument.level:g} beyond chance"
    lost = min(POWER_LOST, instrument.level * POWER_LOST / 0.05)
    if rate.value < lost or rate.high < instrument.level:
        return "conservative", instrument.why_conservative or "no reason known"
    return "ok", ""


def alarm_rates(
    instruments: Sequence[Instrument], base: World, n_sims: int, seeds: Sequence[np.random.Generator]
) -> list[Alarms]:
    """Return the error rate of every instrument on `n_sims` datasets without effect.

    Args:
        instruments: from `calibration.instruments`; each names the kind of data it is asked about.
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
    found = []
    for instrument in instruments:
        rate = rate_of(alarms[instrument.name])
        found.append(Alarms(instrument, worlds[instrument.setting], rate, *verdict_on(rate, instrument)))
    return found
