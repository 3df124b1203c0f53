"""The single-step probe: is the model better than readers that receive the same tokens?

The probe uses one state per clip, at one decoder step and layer. The (layer, step) of a fold is chosen by
cross-validation inside the training part of that fold, for the model alone. Every baseline is then evaluated
at the same step and layer. So neither the accuracy nor the difference to a baseline profits from the choice.
The permutation p is that of the best site of the grid against the best site of each relabelling.

There are two comparisons with a baseline:
chosen      the layer and step that the training folds choose for the model, the baseline at the same site
everywhere  the mean over all stored steps and layers, for both readers: nothing is chosen

A probe at one step is right or wrong per prompt, and the mean over 48 sites is far less noisy. If emotion is
present at many layers and steps, `everywhere` detects what `chosen` cannot; if it is present at a single one,
the reverse holds. Neither case is known in advance, so both are tested and the smaller p is doubled
(Bonferroni). Both flip the signs of whole wordings (`stats.sign_flip`). Level and power by simulation:
docs/calibration.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.null_text.readers import Reader
from moodlens.probes import logistic
from moodlens.probes.controls import Comparison, Difference, best_extreme, difference, selectivity
from moodlens.probes.family import ProbeSettings
from moodlens.probes.folds import group_folds
from moodlens.probes.kernel_ridge import grid_accuracies, hats_of, predictions
from moodlens.stats.bootstrap import balanced_accuracy, class_means, interval
from moodlens.stats.design import Design, Unit
from moodlens.stats.multiplicity import max_p
from moodlens.stats.permutation import smallest_p
from moodlens.stats.sign_flip import better_p

N_READINGS = 2


@dataclass(frozen=True)
class Lead:
    """By how much the model's steps and layers are read better than a baseline's, on average."""

    baseline: str
    accuracy: float  # of the baseline, mean over its steps and layers
    difference: float
    p: float  # one-sided, of this reading alone


def everywhere(
    grams: Float[np.ndarray, "site prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    folds: Int[np.ndarray, " prompt"],
    penalty: float,
) -> Float[np.ndarray, " prompt"]:
    """Return at what share of the sites the closed-form probe of the other folds reads each prompt right."""
    predicted = predictions(hats_of(grams, folds, penalty), labels[None].astype(np.int8))[:, 0]
    return (predicted == labels).mean(axis=0)


def leads_everywhere(
    model: Reader,
    baselines: Sequence[Reader],
    design: Design,
    unit: Unit,
    folds: Int[np.ndarray, " prompt"],
    penalty: float,
    n_flips: int,
    rng: np.random.Generator,
) -> tuple[Lead, ...]:
    """Return the model's lead over each baseline; one without layers is read once per step."""
    n = design.n_prompts
    own = everywhere(model.grams.reshape(-1, n, n), design.labels, folds, penalty)
    n_folds = len(np.unique(folds))
    results = []
    for other in baselines:
        right = everywhere(other.grams.reshape(-1, n, n), design.labels, folds, penalty)
        p = better_p(own[None], right, design, unit, n_folds, n_flips, rng)[0]
        floor = float(balanced_accuracy(right, design.labels))
        results.append(
            Lead(other.name, floor, float(balanced_accuracy(own, design.labels)) - floor, float(p))
        )
    return tuple(results)


def of_both(chosen: float, everywhere: float) -> float:
    """Return the p that one of the two readings is better.

    >>> of_both(0.3, 0.004)
    0.008
    """
    return min(1.0, N_READINGS * min(chosen, everywhere))


@dataclass(frozen=True)
class StepProbe:
    """The model's single-step probe; balanced accuracies, chance 1 / n_classes."""

    unit: Unit
    accuracy: float  # logistic, site chosen inside each training fold
    low: float
    high: float
    correct: Float[np.ndarray, " prompt"]
    chosen: tuple[int, ...]  # site of each fold, step * n_layers + layer
    best: int  # site of the highest closed-form accuracy, the earliest of equals
    ridge_accuracy: float  # closed form, best site
    permuted_extreme: float
    selectivity: float
    p: float
    smallest_p: float
    by_site: Float[np.ndarray, "step layer"]  # closed-form accuracies
    p_by_site: Float[np.ndarray, "step layer"]  # against the best site of each relabelling
    accuracy_by_prompt: float  # as `accuracy`, folds by prompt
    differences: tuple[Difference, ...]  # to each baseline, at the same sites; p of both comparisons
    leads: tuple[Lead, ...]  # over each baseline, mean over all sites


def step_probe(
    model: Reader, baselines: Sequence[Reader], design: Design, unit: Unit, settings: ProbeSettings
) -> StepProbe:
    """Return the single-step probe of a layered reader beside its baselines.

    Folds hold out whole units and labels are permuted over whole units, on the folds and relabellings of
    `probes.family.probe_family`.
    """
    n_steps, n_layers, n, _ = model.grams.shape
    grams = model.grams.reshape(-1, n, n)
    folds = settings.folds(design, unit)
    table = settings.relabellings(design, unit)
    measured = grid_accuracies(grams, folds, table, (settings.ridge,))
    chosen = choose(grams, design, unit, folds, settings)
    correct = read_at(model, chosen, n_layers, design, folds, settings.ridge)
    counts = settings.resamples(design, unit)
    low, high = interval(class_means(correct, design.labels, counts), settings.confidence)
    best = int(measured[:, 0].argmax())
    of_best = measured.max(axis=0)
    against = (of_best[1:, None] >= measured[:, 0] - 1e-9).sum(axis=0)
    how = Comparison(settings.n_folds, settings.n_bootstrap, settings.n_permutations, settings.confidence)
    differences = []
    rng = rng_for("everywhere", unit, settings.seed)
    leads = leads_everywhere(
        model, baselines, design, unit, folds, settings.ridge, settings.n_permutations, rng
    )
    for other, lead in zip(baselines, leads, strict=True):
        right = read_at(other, chosen, n_layers, design, folds, settings.ridge)
        rng = rng_for("difference", other.name, unit, settings.seed)
        result = difference(other.name, correct[None], 0, right, design, unit, how, rng)
        differences.append(replace(result, p=of_both(result.p, lead.p)))
    return StepProbe(
        unit=unit,
        accuracy=float(balanced_accuracy(correct, design.labels)),
        low=float(low),
        high=float(high),
        correct=correct,
        chosen=chosen,
        best=best,
        ridge_accuracy=float(measured[best, 0]),
        permuted_extreme=best_extreme(measured),
        selectivity=float(selectivity(measured)[best]),
        p=max_p(measured),
        smallest_p=smallest_p(design.unit_labels(unit), settings.n_permutations),
        by_site=measured[:, 0].reshape(n_steps, n_layers),
        p_by_site=((against + 1) / measured.shape[1]).reshape(n_steps, n_layers),
        accuracy_by_prompt=_accuracy(model, design, "prompt", settings),
        differences=tuple(differences),
        leads=leads,
    )


def _accuracy(model: Reader, design: Design, unit: Unit, settings: ProbeSettings) -> float:
    """Return the nested accuracy alone, folds by `unit`."""
    _, n_layers, n, _ = model.grams.shape
    folds = settings.folds(design, unit)
    chosen = choose(model.grams.reshape(-1, n, n), design, unit, folds, settings)
    return float(
        balanced_accuracy(read_at(model, chosen, n_layers, design, folds, settings.ridge), design.labels)
    )


def choose(
    grams: Float[np.ndarray, "site prompt prompt"],
    design: Design,
    unit: Unit,
    folds: Int[np.ndarray, " prompt"],
    settings: ProbeSettings,
) -> tuple[int, ...]:
    """Return the site of each fold: the most accurate in its training part, the earliest of equals."""
    members = design.members(unit)
    chosen = []
    for fold in np.unique(folds):
        (train,) = np.nonzero(folds != fold)
        _, groups = np.unique(members[train], return_inverse=True)
        rng = rng_for("inner folds", unit, int(fold), settings.seed)
        inner = group_folds(groups, min(settings.n_folds, int(groups.max()) + 1), rng)
        labels = design.labels[train][None].astype(np.int8)
        accuracy = grid_accuracies(grams[:, train[:, None], train], inner, labels, (settings.ridge,))
        chosen.append(int(accuracy[:, 0].argmax()))
    return tuple(chosen)


def read_at(
    reader: Reader,
    chosen: Sequence[int],
    n_layers: int,
    design: Design,
    folds: Int[np.ndarray, " prompt"],
    penalty: float,
) -> Float[np.ndarray, " prompt"]:
    """Return 1 where the logistic probe is right, each fold read at its own site."""
    correct = np.empty(design.n_prompts)
    for site in sorted(set(chosen)):
        right = logistic.out_of_fold(reader.at(site, n_layers), design.labels, folds, penalty)
        for fold, picked in zip(np.unique(folds), chosen, strict=True):
            if picked == site:
                correct[folds == fold] = (right == design.labels)[folds == fold]
    return correct
