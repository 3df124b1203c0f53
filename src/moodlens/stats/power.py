"""Prompts needed for a threshold, from a pilot's spectrum and ICC: by simulation, beside two formulas.

Unit means of n Gaussian units per emotion with the pilot's within-emotion spectrum l_i give
SS_within = sum l_i chi2(K (n - 1)) and SS_between = sum l_i chi2(K - 1, c_i). So pseudo-F is drawn without
drawing data. The direction of the effect is random with the spectrum of the data, at a given size. Labels
that move within blocks leave the variance between blocks out of the null, and the spectrum is that of the
rest.

`power_analysis` asks this for the thresholds of the ladder, with a layer of the run as pilot.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, sqrt

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats as scipy_stats

from moodlens.base.errors import ContractError, must
from moodlens.params.pipeline import Decide
from moodlens.stats.bootstrap import accuracy_at
from moodlens.stats.design import Design, Unit
from moodlens.stats.equivalence import MOST_UNITS, units_needed
from moodlens.stats.gram import SiteGram, centred, group_means, prompt_grams, within_groups
from moodlens.stats.similarity import prompt_icc

KEPT = 1e-3
"""Eigenvalues below this share of the largest are ignored."""


@dataclass(frozen=True)
class Threshold:
    """Requirement of a rung: a value of `effect` or `accuracy` at a level."""

    kind: str  # effect: within - between similarity of clips; accuracy: of a probe
    value: float
    alpha: float  # level at which a single layer is tested (maxT: `Power.alpha_layer`)


@dataclass(frozen=True)
class Need:
    """Prompts per emotion at which a threshold is reached with the requested power; None: more than 2,000."""

    threshold: str
    kind: str
    value: float
    alpha: float
    power: float
    n: int | None  # by simulation of pseudo-F (effect), exact binomial (accuracy)
    n_approximate: int | None  # by noncentral F (effect), the normal approximation (accuracy)


@dataclass(frozen=True)
class Pilot:
    """Properties of a pilot that predict the power of later data."""

    spectrum: Float[np.ndarray, " dim"]  # within-emotion variance of unit means by axis, in decreasing order
    n_classes: int
    icc: float  # share of an emotion's variance that is the prompt's
    n_clips: float  # per prompt
    per_unit: float = 1.0  # prompts per unit: above 1 where the unit is the wording
    within: float = 1.0  # share of the variance within emotions that lies within blocks


def pilot_of(
    gram: Float[np.ndarray, "unit unit"],
    labels: Int[np.ndarray, " unit"],
    icc: float,
    n_clips: float,
    per_unit: float = 1.0,
    blocks: Int[np.ndarray, " unit"] | None = None,
) -> Pilot:
    """Return the pilot of a layer.

    Args:
        gram: Gram matrix of unit means (prompts, or wordings).
        labels: emotion of each unit.
        icc: from `stats.similarity.prompt_icc`.
        n_clips, per_unit: clips per prompt, prompts per unit.
        blocks: within which labels are exchanged; one block if none are given.

    Raises:
        ContractError: no unit differs from its emotion's mean.
    """
    n_classes = int(labels.max()) + 1
    own, share = within_groups(centred(gram), labels.astype(np.int64)), 1.0
    if blocks is not None and blocks.max() and np.trace(own) > 0:
        inside, left = within_groups(own, blocks), len(labels) - n_classes
        share = float(np.trace(inside) / np.trace(own) * left / max(left - blocks.max(), 1))
        own = inside
    values = np.linalg.eigvalsh(own)[::-1]
    if values[0] <= 0:
        raise ContractError(
            must("the pilot", "vary within emotions", "no variance", next_step="Add prompts to the pilot")
        )
    kept = values[values > KEPT * values[0]]
    return Pilot(kept / kept.sum(), n_classes, float(np.clip(icc, 0, 1)), n_clips, per_unit, min(share, 1.0))


def unit_share(effect: float, pilot: Pilot) -> float:
    """Return the share of the variance between unit means that corresponds to a within - between similarity.

    If emotion holds the share d of the variance between clips, similarity differs by d K / (K - 1). Averaging
    over a prompt's m clips removes (1 - icc) (1 - 1 / m) of the remaining variance.

    >>> pilot = Pilot(np.ones(4), 4, 0.3, 2)
    >>> round(unit_share(0.05, pilot), 4)
    0.0566
    """
    share = min(effect * (pilot.n_classes - 1) / pilot.n_classes, 0.999)
    rest = (1 - share) * (pilot.icc + (1 - pilot.icc) / pilot.n_clips)
    return share / (share + rest)


@dataclass(frozen=True)
class Draws:
    """The part of simulated between sums of squares that does not depend on the number of units.

    An effect of squared length w moves `plain` to plain + 2 sqrt(w) along + w.
    """

    null: Float[np.ndarray, " sim"]  # without an effect
    plain: Float[np.ndarray, " sim"]  # the noise of the simulations with an effect
    along: Float[np.ndarray, " sim"]  # that noise along the effect's direction


def draws_of(pilot: Pilot, n_sims: int, rng: np.random.Generator) -> Draws:
    """Return noise and effect directions of the class means; every n and effect uses the same draws.

    Args:
        pilot: from `pilot_of`.
        n_sims: number of simulations; a level alpha needs at least 10 / alpha.
        rng: source of randomness.
    """
    k, spectrum = pilot.n_classes, pilot.spectrum
    null = rng.chisquare(k - 1, (n_sims, len(spectrum))) @ spectrum
    noise, effect = (rng.standard_normal((n_sims, k, len(spectrum))) * np.sqrt(spectrum) for _ in range(2))
    for moves in (noise, effect):
        moves -= moves.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(effect).sum(axis=(1, 2)))
    along = np.einsum("skd,skd->s", noise, effect) / length
    return Draws(null, np.square(noise).sum(axis=(1, 2)), along)


def simulated_power(
    pilot: Pilot, n: int, delta: float, alpha: float, draws: Draws, rng: np.random.Generator
) -> float:
    """Return how often pseudo-F detects an effect of `delta` with n units per emotion.

    Args:
        pilot: from `pilot_of`.
        n: units per emotion, at least 2.
        delta: share of the variance between unit means.
        alpha: level of the test of this layer.
        draws: from `draws_of`.
        rng: source of the variance within emotions.
    """
    k, spectrum = pilot.n_classes, pilot.spectrum
    within = rng.chisquare(k * (n - 1), (len(draws.null), len(spectrum))) @ spectrum
    # sum over classes and axes of n mean^2 = delta / (1 - delta) of the total sum of squares of k n units.
    wanted = delta / (1 - delta) * (k * n - 1)
    ratio = (draws.plain + 2 * sqrt(wanted) * draws.along + wanted) / within
    return float((ratio > np.quantile(draws.null / within, 1 - alpha)).mean())


def power_table(
    pilot: Pilot,
    thresholds: Mapping[str, Threshold],
    powers: tuple[float, ...],
    rng: np.random.Generator,
    n_sims: int = 20_000,
) -> tuple[Need, ...]:
    """Return the prompts per emotion that each threshold needs, for each requested power.

    An effect threshold is tested with PERMANOVA. An accuracy threshold is tested against chance, for a probe
    of exactly that accuracy.

    Args:
        pilot: of the tested layer.
        thresholds: by name.
        powers: requested powers, such as (0.8, 0.9).
        rng: source of the simulation.
        n_sims: draws per step of the search; more where a level needs them.
    """
    rows = []
    for name, threshold in thresholds.items():
        draws = (
            draws_of(pilot, max(n_sims, ceil(10 / threshold.alpha)), rng)
            if threshold.kind == "effect"
            else None
        )
        for power in powers:
            if draws is not None:
                exact, rough = _for_effect(pilot, threshold, power, draws, rng)
            else:
                exact, rough = _for_accuracy(pilot, threshold, power)
            rows.append(Need(name, threshold.kind, threshold.value, threshold.alpha, power, exact, rough))
    return tuple(rows)


def _for_effect(
    pilot: Pilot, threshold: Threshold, power: float, draws: Draws, rng: np.random.Generator
) -> tuple[int | None, int | None]:
    share = unit_share(threshold.value, pilot)
    delta = share / (share + (1 - share) * pilot.within)
    rough = units_needed(np.diag(pilot.spectrum), pilot.n_classes, delta, threshold.alpha, power)

    def enough(n: int) -> bool:
        return simulated_power(pilot, n, delta, threshold.alpha, draws, rng) >= power

    # The formula is close, so the search starts just below it.
    near = 2 if rough is None else max(2, round(0.8 * rough))
    exact = first_n(enough, 2 if near > 2 and enough(near) else near)
    return _prompts(exact, pilot), _prompts(rough, pilot)


def _for_accuracy(pilot: Pilot, threshold: Threshold, power: float) -> tuple[int | None, int | None]:
    k, value, alpha = pilot.n_classes, threshold.value, threshold.alpha
    chance = 1 / k
    if value <= chance:
        return None, None

    def enough(n: int) -> bool:
        total = k * n
        needed = scipy_stats.binom.isf(alpha, total, chance) + 1
        return bool(scipy_stats.binom.sf(needed - 1, total, value) >= power)

    spread = scipy_stats.norm.isf(alpha) * sqrt(chance * (1 - chance))
    spread += scipy_stats.norm.isf(1 - power) * sqrt(value * (1 - value))
    rough = ceil((spread / (value - chance)) ** 2 / k)
    return _prompts(first_n(enough, 2), pilot), _prompts(max(rough, 2), pilot)


def first_n(enough: Callable[[int], bool], low: int) -> int | None:
    """Return the smallest n in low..2,000 that is enough, by doubling and bisection; None if there is none.

    >>> first_n(lambda n: n >= 37, 2), first_n(lambda n: False, 2)
    (37, None)
    """
    high = low
    while not enough(high):
        if high >= MOST_UNITS:
            return None
        low, high = high, min(2 * high, MOST_UNITS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _prompts(units: int | None, pilot: Pilot) -> int | None:
    return None if units is None else ceil(units * pilot.per_unit)


POWERS = (0.8, 0.9)
UNIT: Unit = "wording"


def power_analysis(
    layers: Sequence[SiteGram], best: str, design: Design, decide: Decide, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the prompts per emotion that each threshold needs, one row per threshold and power.

    Args:
        layers: the family that maxT corrects over; each level is divided by its size.
        best: name of the layer that serves as the pilot.
        design: the prompts.
        decide: thresholds, with the levels of this look.
        rng: source of the simulation.
    """
    site = next(layer for layer in layers if layer.site == best)
    thresholds = {
        f"{kind} {level}": Threshold(kind, value, alpha / len(layers))
        for level, alpha, effect, accuracy in (
            ("weak", decide.alpha_weak, decide.effect_weak, decide.accuracy_weak),
            ("strong", decide.alpha_strong, decide.effect_strong, decide.accuracy_strong),
        )
        for kind, value in (("effect", effect), ("accuracy", accuracy_at(accuracy, design.n_classes)))
    }
    needs = power_table(pilot_of_layer(site, design), thresholds, POWERS, rng)
    return pd.DataFrame([asdict(need) for need in needs])


def pilot_of_layer(site: SiteGram, design: Design) -> Pilot:
    """Return a layer as a pilot over wordings.

    With one clip per prompt the ICC of prompts cannot be estimated, and 1 is assumed.
    """
    members = design.members(UNIT)
    icc = prompt_icc(site, design.labels)
    return pilot_of(
        group_means(prompt_grams([site])[0], members),
        design.unit_labels(UNIT),
        1.0 if icc is None else icc,
        len(site.prompts) / design.n_prompts,
        design.n_prompts / (members.max() + 1),
        design.blocks(UNIT),
    )
