"""A family of sites through the probe: accuracy, interval, p over the family, for one kind of folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.probes import logistic, ridge
from moodlens.probes.controls import best_extreme, selectivity
from moodlens.probes.folds import design_folds
from moodlens.probes.intervals import accuracy_interval
from moodlens.stats.bootstrap import balanced_accuracy, class_means, resamples
from moodlens.stats.design import Design, Unit
from moodlens.stats.gram import SiteGram, prompt_grams
from moodlens.stats.multiplicity import max_p
from moodlens.stats.permutation import p_values, relabellings, smallest_p


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are run."""

    n_folds: int
    ridge: float
    n_permutations: int
    n_bootstrap: int
    confidence: float
    seed: int
    ridge_grid: tuple[float, ...] = ()  # penalties of the closed-form probe; (): `ridge` alone


@dataclass(frozen=True)
class SiteProbe:
    """One site read by a linear probe, folds by `FamilyProbe.unit`; balanced accuracies."""

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
class FamilyProbe:
    """A family of sites under one kind of folds; `best` has the highest accuracy."""

    unit: Unit
    sites: tuple[SiteProbe, ...]
    best: SiteProbe
    permuted_extreme: float  # 99.9th percentile of the best site's accuracy on permuted labels
    p: float  # of the best site, maxT over the family
    smallest_p: float


def probe_family(
    sites: Sequence[SiteGram], design: Design, unit: Unit, settings: ProbeSettings
) -> FamilyProbe:
    """Return the probes of a family of sites.

    Folds hold out whole units and labels are permuted over whole units; both depend on seed and unit only, so
    that every family and baseline is read on the same folds. The closed-form probe takes the best penalty of
    its grid for the observed labels and for every relabelling alike, so the choice is part of its p.
    """
    folds = design_folds(design, unit, settings.n_folds, rng_for("folds", unit, settings.seed))
    table = relabellings(
        design.unit_labels(unit), settings.n_permutations, rng_for("relabel", unit, settings.seed)
    )[:, design.members(unit)]
    counts = resamples(design, unit, settings.n_bootstrap, rng_for("resample", unit, settings.seed))
    grams = prompt_grams(sites)
    measured = grid_accuracies(grams, folds, table, settings.ridge_grid or (settings.ridge,))
    gains, p_single = selectivity(measured), p_values(measured)
    best_of_each = measured.max(axis=0)
    found = []
    for i, site in enumerate(sites):
        right = logistic.out_of_fold(grams[i], design.labels, folds, settings.ridge) == design.labels
        correct = right.astype(np.float64)
        accuracy = float(balanced_accuracy(correct, design.labels))
        draws = class_means(correct, design.labels, counts)
        low, high = accuracy_interval(
            accuracy, draws, len(design.unit_labels(unit)), design.n_prompts, settings.confidence
        )
        against_best = np.concatenate([measured[i, :1], best_of_each[1:]])
        found.append(
            SiteProbe(
                site.site,
                accuracy,
                low,
                high,
                correct,
                float(measured[i, 0]),
                float(gains[i]),
                float(p_single[i]),
                float(p_values(against_best)),
            )
        )
    best = max(found, key=lambda probe: (probe.ridge_accuracy, probe.accuracy))
    n_permutations = settings.n_permutations
    return FamilyProbe(
        unit,
        tuple(found),
        best,
        best_extreme(measured),
        max_p(measured),
        smallest_p(design.unit_labels(unit), n_permutations),
    )


def grid_accuracies(
    grams: Float[np.ndarray, "layer prompt prompt"],
    folds: Int[np.ndarray, " prompt"],
    table: Int[np.ndarray, "perm prompt"],
    ridges: Sequence[float],
) -> Float[np.ndarray, "layer perm"]:
    """Return the closed-form accuracy at the best penalty, of every layer under every labelling."""
    each = [
        ridge.accuracies(ridge.predictions(ridge.hats_of(grams, folds, penalty), table), table)
        for penalty in ridges
    ]
    return np.max(each, axis=0)
