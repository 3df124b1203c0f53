"""Tests behind the finding on null-text states, and of regressions; layers stand for steps x layers."""

import numpy as np

from moodlens.base.axes import EMOTIONS
from moodlens.calibration.simulate import (
    CAUTIOUS,
    N_PERMUTATIONS,
    PLACES,
    PLACES_APART,
    Instrument,
    Sample,
    Setting,
)
from moodlens.null_text.few_shot import Scores, few_shot_task, read
from moodlens.null_text.regression import FACTORS, TargetScore, follow_prompts, partial_r2, read_targets
from moodlens.null_text.untrained_memory import Comparison, compare
from moodlens.probes import kernel_ridge
from moodlens.probes.folds import design_folds
from moodlens.probes.kernel_ridge import nested_predictions, out_of_fold_hat, r_squared, shuffled_targets
from moodlens.prompts.lexicon import AFFECT
from moodlens.stats.bootstrap import unit_resamples
from moodlens.stats.multiplicity import max_p
from moodlens.stats.permutation import p_values, unit_orders

N_FOLDS, RIDGE = 8, 0.1
N_TARGETS = 4
N_FLIPS = 999
N_STEPS_LAYERS = 6
STATES = Setting(True, 12, 0.5, everywhere=0.05)
"""Six readers of two steps or layers each, the model and five draws, with emotion equally strong in all."""
N_READERS, N_LEAD_FOLDS = 6, 5
SHOTS, N_SETS = (1, 2, 4), 40
"""Prompts per emotion, and training sets per size."""
TWICE = f"{CAUTIOUS}, and both p must be small"
N_VIEWS = 4
"""Steps whose squared errors a reading of a target averages."""
N_TURNS, N_SCALE = 19, 79
"""Rotations of the partial R2, relabellings of the nested regression, each a refit; (n + 1) / 20 is whole."""


def single_step(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of the best of steps x layers."""
    design = data.design
    folds = design_folds(design, "wording", N_FOLDS, rng)
    table = design.relabellings("wording", N_PERMUTATIONS, rng)[:, design.wordings]
    return max_p(kernel_ridge.grid_accuracies(data.grams[:N_STEPS_LAYERS], folds, table, (RIDGE,)))


def _readings(data: Sample, rng: np.random.Generator) -> tuple[list[TargetScore], np.ndarray]:
    """Return how two readers, equally good, tell four factors of a third place; and the relabellings."""
    if "readings" not in data.read:
        labels = data.design.unit_labels("wording")
        n = len(labels)
        folds = rng.permutation(n) % N_FOLDS
        order = unit_orders(n, N_PERMUTATIONS, rng, np.bincount(data.design.wordings))
        grams = data.unit_grams[: 2 * N_VIEWS]
        hats = np.stack([out_of_fold_hat(gram, folds, RIDGE) for gram in grams])
        readers = {"state": hats[:N_VIEWS], "other": hats[N_VIEWS:]}
        values = {name: data.unit_rows[2 * N_VIEWS, :, i] for i, name in enumerate(FACTORS)}
        counts = unit_resamples(labels, 2, rng)
        data.read["readings"] = read_targets(readers, values, counts, order, 0.95, N_FOLDS), order
    return data.read["readings"]


def targets(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p of factors predicted from a state."""
    return min(reading.p for reading in _readings(data, rng)[0])


def target_above(data: Sample, rng: np.random.Generator) -> float:
    """Return the p that the first factor is predicted better from a state than from another reader."""
    return _readings(data, rng)[0][0].leads["other"].p


def target_prompted(data: Sample, rng: np.random.Generator) -> float:
    """Return the smallest maxT p that factors predicted from states follow prompts that the music ignored."""
    readings, order = _readings(data, rng)
    affect = np.array([AFFECT[emotion] for emotion in EMOTIONS[: data.design.n_classes]])
    intended = affect[data.design.unit_labels("wording")]
    told = follow_prompts(readings, {"valence": intended[:, 0], "arousal": intended[:, 1]}, order)
    return min(factor.prompted_p for factor in told)


def _against(data: Sample, rng: np.random.Generator, draws: slice) -> Comparison:
    """Return the few-shot area of the first reader beside some of the others, all equally good."""
    if "scores" not in data.read:
        task = few_shot_task(data.design, N_LEAD_FOLDS, SHOTS, N_SETS, RIDGE, rng)
        readers = data.grams.reshape(N_READERS, -1, *data.grams.shape[1:])
        data.read["scores"] = task, [read("reader", grams, task) for grams in readers]
    task, scores = data.read["scores"]
    model: Scores = scores[0]
    seed = int(rng.integers(2**31))
    result = compare(
        model, {"others": scores[draws]}, task, n_flips=N_FLIPS, n_bootstrap=2, confidence=0.95, seed=seed
    )
    return result.families[0]


def above_reader(data: Sample, rng: np.random.Generator) -> float:
    """Return the p that the model's few-shot area exceeds that of one reader."""
    return _against(data, rng, slice(1, 2)).p


def above_draws(data: Sample, rng: np.random.Generator) -> float:
    """Return the p that the model's few-shot area exceeds that of a family of five draws."""
    return _against(data, rng, slice(1, None)).p


def beyond_descriptors(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of the partial R2 of a state beyond descriptors."""
    labels = data.design.unit_labels("wording")
    onehot = (labels[:, None] == np.arange(data.design.n_classes)).astype(np.float64)
    folds = rng.permutation(len(labels)) % N_FOLDS
    acoustic = data.unit_rows[1, :, :N_TARGETS]
    result = partial_r2(
        (acoustic - acoustic.mean(axis=0)) / acoustic.std(axis=0),
        data.unit_grams[0],
        onehot - onehot.mean(axis=0),
        folds,
        RIDGE,
        N_TURNS,
        0.95,
        rng,
    )
    return 1.0 if result is None else result.p


def scale(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of a scale (valence, arousal) predicted by a probe with a nested choice of penalty."""
    design = data.design
    folds = design_folds(design, "wording", N_FOLDS, rng)
    values = data.prompt_rows[1, :, 0]
    targets_shuffled = shuffled_targets(values, design.wordings, N_SCALE, rng)
    predictions = nested_predictions(data.grams[:1], folds, (0.1, 1.0), targets_shuffled)
    return float(p_values(r_squared(targets_shuffled, *predictions)))


TESTS = (
    Instrument("single-step probe, best of 6 steps x layers", PLACES, single_step),
    Instrument(
        "few-shot area above one reader",
        STATES,
        above_reader,
        level=0.025,
        why_conservative=CAUTIOUS,
        slow=True,
    ),
    Instrument(
        "few-shot area above five draws",
        STATES,
        above_draws,
        level=0.025,
        why_conservative=TWICE,
        slow=True,
    ),
    Instrument("factor told by a state, best of 4", PLACES_APART, targets),
    Instrument(
        "factor told better than by a baseline", PLACES, target_above, level=0.025, why_conservative=CAUTIOUS
    ),
    Instrument("factor in a state that follows the prompt, best of 4", PLACES, target_prompted),
    Instrument("partial R2 beyond descriptors", PLACES_APART, beyond_descriptors, slow=True),
    Instrument("valence or arousal by a nested probe", PLACES_APART, scale, slow=True),
)
