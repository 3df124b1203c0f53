"""Probes of a family of sites under one kind of folds: accuracy, interval, and p over the family.

Intervals of accuracies (`accuracy_interval`) stay valid at an accuracy of 1, where the bootstrap gives [1, 1]
for every n. They are Clopper-Pearson limits at an effective sample size n_eff = a (1 - a) / v, where v is the
bootstrap variance under resampling of whole units; n_eff is at most the number of prompts. If every prompt is
right (or wrong), v is 0 and gives no information. Then n_eff is the number of units, as if prompts of one
unit were copies. Source: Korn and Graubard 1998, Confidence intervals for proportions with small expected
number of positive counts estimated from survey data, Survey Methodology 24; Clopper and Pearson 1934.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as scipy_stats

from moodlens.base.seeding import rng_for
from moodlens.params.pipeline import NullText, Probe
from moodlens.probes import logistic
from moodlens.probes.controls import best_extreme, selectivity
from moodlens.probes.folds import design_folds
from moodlens.probes.kernel_ridge import grid_accuracies
from moodlens.probes.nested import chosen_settings, predicted_at
from moodlens.stats.bootstrap import balanced_accuracy, class_means, resamples
from moodlens.stats.design import Design, Unit
from moodlens.stats.gram import SiteGram, prompt_grams
from moodlens.stats.multiplicity import max_p
from moodlens.stats.permutation import p_values


def accuracy_interval(
    accuracy: float, draws: Float[np.ndarray, " boot"], n_units: int, n_prompts: int, confidence: float
) -> tuple[float, float]:
    """Return the interval of an accuracy.

    Args:
        accuracy: share of correct predictions; a balanced accuracy is treated as such a share.
        draws: bootstrap accuracies, whole units resampled; NaN draws are left out.
        n_units: number of units that were resampled.
        n_prompts: number of predictions.
        confidence: of the interval.

    >>> low, high = accuracy_interval(1.0, np.ones(100), 36, 64, 0.95)
    >>> round(low, 4), high                                                    # .025^(1/36)
    (0.9026, 1.0)
    """
    variance = float(np.nanvar(draws))
    spread = accuracy * (1 - accuracy)
    size = min(spread / variance, n_prompts) if variance > 0 and spread > 0 else float(n_units)
    hits, tail = accuracy * size, (1 - confidence) / 2
    low = float(scipy_stats.beta.ppf(tail, hits, size - hits + 1)) if hits > 0 else 0.0
    high = float(scipy_stats.beta.ppf(1 - tail, hits + 1, size - hits)) if hits < size else 1.0
    return low, high


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of the probes."""

    n_folds: int
    ridge: float
    n_permutations: int
    n_bootstrap: int
    confidence: float
    seed: int
    ridge_grid: tuple[float, ...] = ()  # penalties of the closed-form probe; (): `ridge` alone
    section: str = "probe"  # of params.yaml, for errors

    @classmethod
    def from_section(cls, section: Probe | NullText) -> Self:
        """Return the settings that a section of params.yaml holds."""
        return cls(
            n_folds=section.n_folds,
            ridge=section.ridge,
            n_permutations=section.n_permutations,
            n_bootstrap=section.n_bootstrap,
            confidence=section.confidence,
            seed=section.seed,
            ridge_grid=section.ridge_grid if isinstance(section, Probe) else (),
            section="probe" if isinstance(section, Probe) else "null_text",
        )

    @property
    def ridges(self) -> tuple[float, ...]:
        """Return the candidate penalties of the closed-form probe."""
        return self.ridge_grid or (self.ridge,)

    def folds(self, design: Design, unit: Unit) -> Int[np.ndarray, " prompt"]:
        """Return the fold of each prompt; it depends on the seed and the unit only."""
        rng = rng_for("folds", unit, self.seed)
        return design_folds(design, unit, self.n_folds, rng, f"{self.section}.n_folds")

    def relabellings(self, design: Design, unit: Unit) -> Int[np.ndarray, "perm prompt"]:
        """Return the label of each prompt, whole units relabelled; row 0 is observed."""
        rng = rng_for("relabel", unit, self.seed)
        return design.relabellings(unit, self.n_permutations, rng)[:, design.members(unit)]

    def resamples(self, design: Design, unit: Unit) -> Int[np.ndarray, "boot prompt"]:
        """Return how often each prompt occurs in each bootstrap resample of whole units."""
        return resamples(design, unit, self.n_bootstrap, rng_for("resample", unit, self.seed))


@dataclass(frozen=True)
class SiteProbe:
    """The linear probe of one site, folds by `FamilyProbe.unit`; balanced accuracies."""

    site: str
    accuracy: float  # logistic regression
    low: float
    high: float
    correct: Float[np.ndarray, " prompt"]  # 1 where the logistic probe is right
    ridge_accuracy: float  # closed form at its best penalty; the permutation p and percentile are its own
    selectivity: float
    p: float
    p_max: float  # accuracy against the best site of each relabelling


@dataclass(frozen=True)
class NestedProbe:
    """The probe of a family that chooses site and penalty in each training fold; balanced accuracy."""

    accuracy: float  # logistic regression
    low: float
    high: float
    correct: Float[np.ndarray, " prompt"]  # 1 where the logistic probe of the fold is right
    chosen: tuple[str, ...]  # site of each fold
    ridges: tuple[float, ...]  # penalty of each fold


@dataclass(frozen=True)
class FamilyProbe:
    """A family of sites under one kind of folds.

    `best` has the highest accuracy on all prompts. It names and describes; its accuracy profits from the
    choice. `nested` is the probe that carries claims and is compared with baselines.
    """

    unit: Unit
    sites: tuple[SiteProbe, ...]
    best: SiteProbe
    nested: NestedProbe
    permuted_extreme: float  # 99.9th percentile of the best site's accuracy on permuted labels
    p: float  # of the best site, maxT over the family
    smallest_p: float


def probe_family(
    sites: Sequence[SiteGram], design: Design, unit: Unit, settings: ProbeSettings
) -> FamilyProbe:
    """Return the probes of a family of sites.

    Folds hold out whole units and labels are permuted over whole units. Both depend on seed and unit only, so
    every family and baseline uses the same folds. The closed-form probe takes the best penalty of its grid
    for the observed labels and for every relabelling alike, so the choice is part of its p.
    """
    folds = settings.folds(design, unit)
    table = settings.relabellings(design, unit)
    counts = settings.resamples(design, unit)
    grams = prompt_grams(sites)
    measured = grid_accuracies(grams, folds, table, settings.ridges)
    gains, p_single = selectivity(measured), p_values(measured)
    best_of_each = measured.max(axis=0)
    probes = []
    for i, site in enumerate(sites):
        right = logistic.out_of_fold(grams[i], design.labels, folds, settings.ridge) == design.labels
        correct = right.astype(np.float64)
        accuracy, low, high = _scored(correct, counts, design, unit, settings)
        against_best = np.concatenate([measured[i, :1], best_of_each[1:]])
        probes.append(
            SiteProbe(
                site=site.site,
                accuracy=accuracy,
                low=low,
                high=high,
                correct=correct,
                ridge_accuracy=float(measured[i, 0]),
                selectivity=float(gains[i]),
                p=float(p_single[i]),
                p_max=float(p_values(against_best)),
            )
        )
    return FamilyProbe(
        unit=unit,
        sites=tuple(probes),
        best=max(probes, key=lambda probe: (probe.ridge_accuracy, probe.accuracy)),
        nested=nested_probe(sites, design, unit, settings),
        permuted_extreme=best_extreme(measured),
        p=max_p(measured),
        smallest_p=design.smallest_p(unit, settings.n_permutations),
    )


def nested_probe(
    sites: Sequence[SiteGram], design: Design, unit: Unit, settings: ProbeSettings
) -> NestedProbe:
    """Return the probe of a family that chooses site and penalty inside each training fold.

    It is what a rung reports, and what a model and its baselines are compared by.
    """
    grams, folds = prompt_grams(sites), settings.folds(design, unit)
    chosen = chosen_settings(grams, design, unit, folds, settings.ridges, settings.seed)
    right = predicted_at(grams, design.labels, folds, chosen) == design.labels
    correct = right.astype(np.float64)
    accuracy, low, high = _scored(correct, settings.resamples(design, unit), design, unit, settings)
    names = tuple(sites[choice.site].site for choice in chosen)
    return NestedProbe(accuracy, low, high, correct, names, tuple(choice.ridge for choice in chosen))


def prompt_accuracies(
    sites: Sequence[SiteGram], design: Design, settings: ProbeSettings
) -> Float[np.ndarray, " site"]:
    """Return each site's accuracy with folds by prompt: the probe has met the wording in other prompts.

    It describes. Prompts of one wording are no replicates, so it has no interval and no p.
    """
    folds = settings.folds(design, "prompt")
    right = [
        logistic.out_of_fold(gram, design.labels, folds, settings.ridge) == design.labels
        for gram in prompt_grams(sites)
    ]
    return balanced_accuracy(np.stack(right).astype(np.float64), design.labels)


def _scored(
    correct: Float[np.ndarray, " prompt"],
    counts: Int[np.ndarray, "boot prompt"],
    design: Design,
    unit: Unit,
    settings: ProbeSettings,
) -> tuple[float, float, float]:
    """Return the balanced accuracy and its interval."""
    accuracy = float(balanced_accuracy(correct, design.labels))
    draws, n_units = class_means(correct, design.labels, counts), len(design.unit_labels(unit))
    return accuracy, *accuracy_interval(accuracy, draws, n_units, design.n_prompts, settings.confidence)
