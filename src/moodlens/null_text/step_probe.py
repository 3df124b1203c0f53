"""The single-step probe: does one state name the emotion of unseen wordings, with all prompts of training?

The probe uses one state per clip, at one decoder step and layer. The site of a fold is chosen by
cross-validation inside the training part of that fold. Every other reader of the same tokens chooses its own
site in the same way, so that no reader is read where another one is good. The permutation p is that of the
best site of the grid against the best site of each relabelling.

The differences to other readers are described and carry no claim. With all prompts a state cannot be better
than its tokens; the comparison that may carry one uses few prompts (`null_text.untrained_memory`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.base.seeding import rng_for
from moodlens.null_text.readers import Reader
from moodlens.probes import logistic
from moodlens.probes.controls import Comparison, Difference, best_extreme, difference, selectivity
from moodlens.probes.family import ProbeSettings
from moodlens.probes.kernel_ridge import grid_accuracies
from moodlens.probes.nested import at_chosen, chosen_sites
from moodlens.stats.bootstrap import balanced_accuracy, class_means, interval
from moodlens.stats.design import Design, Unit
from moodlens.stats.multiplicity import max_p
from moodlens.stats.permutation import smallest_p


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
    differences: tuple[Difference, ...]  # to each other reader at the sites of its own choice


def step_probe(
    model: Reader, others: Sequence[Reader], design: Design, unit: Unit, settings: ProbeSettings
) -> StepProbe:
    """Return the single-step probe of a layered reader beside other readers.

    Folds hold out whole units and labels are permuted over whole units, on the folds and relabellings of
    `probes.family.probe_family`.
    """
    n_steps, n_layers = model.grams.shape[:2]
    grams = model.sites
    folds = settings.folds(design, unit)
    table = settings.relabellings(design, unit)
    measured = grid_accuracies(grams, folds, table, (settings.ridge,))
    correct, chosen = nested(model, design, unit, settings)
    counts = settings.resamples(design, unit)
    low, high = interval(class_means(correct, design.labels, counts), settings.confidence)
    best = int(measured[:, 0].argmax())
    of_best = measured.max(axis=0)
    against = (of_best[1:, None] >= measured[:, 0] - 1e-9).sum(axis=0)
    how = Comparison(settings.n_folds, settings.n_bootstrap, settings.n_permutations, settings.confidence)
    differences = []
    for other in others:
        right, _ = nested(other, design, unit, settings)
        rng = rng_for("difference", other.name, unit, settings.seed)
        differences.append(difference(other.name, correct[None], 0, right, design, unit, how, rng))
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
        smallest_p=smallest_p(design.unit_labels(unit), settings.n_permutations, design.blocks(unit)),
        by_site=measured[:, 0].reshape(n_steps, n_layers),
        p_by_site=((against + 1) / measured.shape[1]).reshape(n_steps, n_layers),
        accuracy_by_prompt=_accuracy(model, design, "prompt", settings),
        differences=tuple(differences),
    )


def _accuracy(model: Reader, design: Design, unit: Unit, settings: ProbeSettings) -> float:
    """Return the nested accuracy alone, folds by `unit`."""
    correct, _ = nested(model, design, unit, settings)
    return float(balanced_accuracy(correct, design.labels))


def nested(
    reader: Reader, design: Design, unit: Unit, settings: ProbeSettings
) -> tuple[Float[np.ndarray, " prompt"], tuple[int, ...]]:
    """Return where the logistic probe is right, each fold at its own site, and those sites."""
    folds = settings.folds(design, unit)
    chosen = chosen_sites(reader.sites, design, unit, folds, settings.ridges, settings.seed)
    right = np.zeros((len(reader.sites), design.n_prompts))
    for site in set(chosen.tolist()):  # the logistic probe is slow: sites that no fold chose are left out
        predicted = logistic.out_of_fold(reader.sites[site], design.labels, folds, settings.ridge)
        right[site] = predicted == design.labels
    return at_chosen(right, folds, chosen), tuple(chosen.tolist())
