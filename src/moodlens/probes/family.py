"""A family of sites through the probe: accuracy, interval, p over the family, for one kind of folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.base.seeding import rng_for
from moodlens.probes import logistic, ridge
from moodlens.probes.controls import best_extreme, selectivity
from moodlens.probes.folds import design_folds
from moodlens.stats.bootstrap import balanced_accuracy, class_means, interval, resamples
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


@dataclass(frozen=True)
class SiteProbe:
    """One site read by a linear probe, folds by `FamilyProbe.unit`; balanced accuracies."""

    site: str
    accuracy: float  # logistic regression
    low: float
    high: float
    correct: Float[np.ndarray, " prompt"]  # 1 where the logistic probe is right
    ridge_accuracy: float  # closed form; the permutation p and percentile are this probe's
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
    that every family and baseline is read on the same folds.
    """
    folds = design_folds(design, unit, settings.n_folds, rng_for("folds", unit, settings.seed))
    table = relabellings(
        design.unit_labels(unit), settings.n_permutations, rng_for("relabel", unit, settings.seed)
    )[:, design.members(unit)]
    counts = resamples(design, unit, settings.n_bootstrap, rng_for("resample", unit, settings.seed))
    grams = prompt_grams(sites)
    predicted = ridge.predictions(ridge.hats_of(grams, folds, settings.ridge), table)
    measured = ridge.accuracies(predicted, table)
    gains, p_single = selectivity(measured), p_values(measured)
    best_of_each = measured.max(axis=0)
    found = []
    for i, site in enumerate(sites):
        right = logistic.out_of_fold(grams[i], design.labels, folds, settings.ridge) == design.labels
        correct = right.astype(np.float64)
        low, high = interval(class_means(correct, design.labels, counts), settings.confidence)
        against_best = np.concatenate([measured[i, :1], best_of_each[1:]])
        found.append(
            SiteProbe(
                site.site,
                float(balanced_accuracy(correct, design.labels)),
                float(low),
                float(high),
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
