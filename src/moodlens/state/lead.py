"""Is the state better than a reader that gets the same tokens? Two readings of single steps, one p.

chosen      the layer and step that the training folds choose for the model, the baseline read there
everywhere  the mean over all kept steps and layers, for both readers: nothing is chosen

A probe on one step answers 0 or 1 per prompt, and the mean over 48 of them is far less noisy: where emotion
lies in many layers and steps `everywhere` sees what `chosen` cannot, and where it lies in a single one the
reverse is true. Neither is known beforehand, so both are asked and the smaller p counts twice (Bonferroni).
Both flip the signs of whole wordings (`stats.paired`). Level and power, simulated: docs/calibration.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.probes import ridge
from moodlens.state.readers import Reader
from moodlens.stats.bootstrap import balanced_accuracy
from moodlens.stats.design import Design, Unit
from moodlens.stats.paired import better_p

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
    predicted = ridge.predictions(ridge.hats_of(grams, folds, penalty), labels[None].astype(np.int8))[:, 0]
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
    found = []
    for other in baselines:
        right = everywhere(other.grams.reshape(-1, n, n), design.labels, folds, penalty)
        p = better_p(own[None], right, design, unit, n_folds, n_flips, rng)[0]
        floor = float(balanced_accuracy(right, design.labels))
        found.append(Lead(other.name, floor, float(balanced_accuracy(own, design.labels)) - floor, float(p)))
    return tuple(found)


def of_both(chosen: float, everywhere: float) -> float:
    """Return the p that one of the two readings is better.

    >>> of_both(0.3, 0.004)
    0.008
    """
    return min(1.0, N_READINGS * min(chosen, everywhere))
