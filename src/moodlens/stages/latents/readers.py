"""Whole-clip probes of model and untrained twin: the same reader, folds and unit for every vector.

A vector is a mean over the rows of a prompt: the states themselves, the SAE's reconstruction of them, or its
latents. The twin is read as the model is. An untrained network passes on much of its input, so a reader may
well find the emotion there; that no latent of the twin's SAE is selective does not show that it cannot.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from moodlens.params.pipeline import Probe
from moodlens.probes import logistic
from moodlens.probes.family import ProbeSettings, accuracy_interval
from moodlens.stats.bootstrap import balanced_accuracy, class_means
from moodlens.stats.design import Design
from moodlens.stats.gram import prompt_grams, site_gram

N_RESAMPLES = 500


def reader_settings(section: Probe) -> ProbeSettings:
    """Return the settings of the reader: those of stage `probe`, without its permutations."""
    return ProbeSettings(
        n_folds=section.n_folds,
        ridge=section.ridge,
        n_permutations=0,
        n_bootstrap=N_RESAMPLES,
        confidence=section.confidence,
        seed=section.seed,
    )


def accuracies(
    vectors: Mapping[str, Float[np.ndarray, "prompt _"]], design: Design, settings: ProbeSettings
) -> dict[str, float]:
    """Return `accuracy_<name>` (balanced, whole wordings held out), `_low` and `_high` of each vector.

    A vector that is the same for all prompts holds nothing: it is left out.

    Args:
        vectors: name -> vectors of the prompts.
        design: of these prompts.
        settings: folds, penalty, resamples and confidence.
    """
    prompts, found = np.arange(design.n_prompts), {}
    folds, counts = settings.folds(design, "wording"), settings.resamples(design, "wording")
    n_units = len(design.unit_labels("wording"))
    for name, rows in vectors.items():
        if (np.ptp(rows, axis=0) <= 1e-9 * np.abs(rows).max(initial=0)).all():
            continue
        gram = prompt_grams([site_gram(name, rows, prompts)])[0]
        right = logistic.out_of_fold(gram, design.labels, folds, settings.ridge) == design.labels
        correct = right.astype(np.float64)
        accuracy, draws = (
            float(balanced_accuracy(correct, design.labels)),
            class_means(correct, design.labels, counts),
        )
        low, high = accuracy_interval(accuracy, draws, n_units, design.n_prompts, settings.confidence)
        found |= {f"accuracy_{name}": accuracy, f"accuracy_{name}_low": low, f"accuracy_{name}_high": high}
    return found
