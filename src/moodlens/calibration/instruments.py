"""The tests under calibration, as a list: what each is asked about, and its p on one dataset.

To add a test: write `(sample, rng) -> p` and give it a row of `TESTS` in the module of its kind.
"""

from dataclasses import replace

import numpy as np

from moodlens.calibration import naive, of_metrics, of_places, of_states
from moodlens.calibration.instrument import (
    CAUTIOUS,
    N_PERMUTATIONS,
    SHARED,
    SHARED_APART,
    UNIQUE,
    UNIQUE_APART,
    Instrument,
    Setting,
    Test,
    f_table,
)
from moodlens.calibration.simulate import Sample
from moodlens.probes import ridge
from moodlens.probes.controls import Comparison, gain_interval
from moodlens.probes.folds import design_folds
from moodlens.stats.design import Unit
from moodlens.stats.multiplicity import max_p, max_t
from moodlens.stats.paired import better_p
from moodlens.stats.permutation import p_values, relabellings

N_BOOTSTRAP, N_FLIPS = 1000, 999
N_FOLDS, RIDGE = 8, 0.1
N_PROBED = 6
"""Layers that the probes' maximum runs over, as many as the organism has."""

EQUALS = Setting(True, N_PROBED + 1, 0.0, everywhere=0.05)
"""Probes that all read emotion equally well, without ceiling: none is better than the baseline among them."""


def permanova(unit: Unit) -> Test:
    """Return PERMANOVA of one layer."""
    return lambda data, rng: float(p_values(f_table(data, unit, 1, rng))[0])


def best_layer(unit: Unit) -> Test:
    """Return the smallest maxT-adjusted p over all layers."""
    return lambda data, rng: float(max_t(f_table(data, unit, len(data.grams), rng)).min())


def probe(unit: Unit, n_layers: int) -> Test:
    """Return the p of the best layer's grouped ridge probe, as `probes.family` does."""

    def p(data: Sample, rng: np.random.Generator) -> float:
        design = data.design
        table = relabellings(design.unit_labels(unit), N_PERMUTATIONS, rng)[:, design.members(unit)]
        return max_p(ridge.accuracies(_predicted(data, unit, n_layers, table, rng), table))

    return p


def interval_above_0(unit: Unit, n_layers: int) -> Test:
    """Return 0 where the bootstrap interval of the best probe's gain over a baseline excludes 0, else 1."""

    def p(data: Sample, rng: np.random.Generator) -> float:
        correct = _correct(data, unit, rng)
        best = correct[int(correct[:n_layers].mean(axis=1).argmax())]
        how = Comparison(N_FOLDS, N_BOOTSTRAP, N_FLIPS, 0.95)
        low, _ = gain_interval(best, correct[-1], data.design, unit, how, rng)
        return 0.0 if low > 0 else 1.0

    return p


def beats_baseline(unit: Unit, n_layers: int) -> Test:
    """Return the p of the best of `n_layers` probes against a baseline, by sign flips."""

    def p(data: Sample, rng: np.random.Generator) -> float:
        correct = _correct(data, unit, rng)
        return float(
            better_p(correct[:n_layers], correct[-1], data.design, unit, N_FOLDS, N_FLIPS, rng).min()
        )

    return p


def _correct(data: Sample, unit: Unit, rng: np.random.Generator) -> np.ndarray:
    """Return where the probes of all layers are right; the last is the baseline, as good as the others.

    The four tests of a gain ask for it of one dataset: it is read once, on the folds of the first.
    """
    if f"correct by {unit}" not in data.read:
        labels = data.design.labels
        predicted = _predicted(data, unit, len(data.rows), labels[None], rng)[:, 0]
        data.read[f"correct by {unit}"] = (predicted == labels).astype(np.float64)
    return data.read[f"correct by {unit}"]


def _predicted(
    data: Sample, unit: Unit, n_layers: int, table: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    folds = design_folds(data.design, unit, min(N_FOLDS, len(data.design.unit_labels(unit))), rng)
    return ridge.predictions(ridge.hats_of(data.grams[:n_layers], folds, RIDGE), table)


CLAIMS = (
    Instrument("PERMANOVA by prompt", UNIQUE, permanova("prompt")),
    Instrument("PERMANOVA by wording", SHARED, permanova("wording")),
    Instrument("maxT, 48 layers, by prompt", UNIQUE, best_layer("prompt")),
    Instrument("maxT, 48 layers, by wording", SHARED, best_layer("wording")),
    Instrument("maxT, 48 unrelated layers, by prompt", UNIQUE_APART, best_layer("prompt")),
    Instrument("maxT, 48 unrelated layers, by wording", SHARED_APART, best_layer("wording")),
    Instrument("probe by prompt", UNIQUE, probe("prompt", 1)),
    Instrument("probe by wording", SHARED, probe("wording", 1)),
    Instrument("probe, best of 6 layers, by prompt", UNIQUE, probe("prompt", N_PROBED)),
    Instrument("probe, best of 6 layers, by wording", SHARED, probe("wording", N_PROBED)),
    Instrument(
        "probe above baseline",
        EQUALS,
        beats_baseline("wording", 1),
        level=0.025,
        why_conservative=CAUTIOUS,
    ),
    Instrument(
        "best of 6 probes above baseline",
        EQUALS,
        beats_baseline("wording", N_PROBED),
        level=0.025,
        why_conservative=CAUTIOUS,
    ),
    *(replace(test, group="state") for test in of_states.TESTS),
    *(replace(test, group="metrics") for test in of_metrics.TESTS),
    *(replace(test, group="chapters") for test in of_places.TESTS),
)
"""Tests that carry a claim, or whose p stands on the page."""

NAIVE = (
    Instrument("t-test on pairs of clips", UNIQUE, naive.t_test, carries_claim=False),
    Instrument("t-test, same-prompt pairs dropped", UNIQUE, naive.t_test_across, carries_claim=False),
    Instrument("PERMANOVA by clip", UNIQUE, naive.permanova_by_clip, carries_claim=False),
    Instrument("PERMANOVA by prompt, wordings shared", SHARED, permanova("prompt"), carries_claim=False),
    Instrument(
        "interval of one probe's gain above 0",
        EQUALS,
        interval_above_0("wording", 1),
        carries_claim=False,
        level=0.025,
    ),
    Instrument(
        "interval of the best of 6 probes' gain above 0",
        EQUALS,
        interval_above_0("wording", N_PROBED),
        carries_claim=False,
        level=0.025,
    ),
)
"""Common tests that are wrong here, for comparison."""

PLAIN = Instrument("plain 5-fold probe, binomial p", UNIQUE, naive.plain_probe, carries_claim=False)
"""Apart from `NAIVE`: scikit-learn's fits take as long as all other tests together."""
