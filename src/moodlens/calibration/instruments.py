"""The list of tests under calibration, with those of the sweep, of the probes and of common practice.

`CLAIMS` are the tests that carry a claim. `NAIVE` are common tests that are wrong here, because they take
clips or pairs of clips for replicates. To add a test, write `(sample, rng) -> p` and give it a row of
`CLAIMS`, or of `TESTS` in the module of its kind.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as scipy_stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from moodlens.calibration import analysis_tests, null_text_tests
from moodlens.calibration.simulate import (
    CAUTIOUS,
    N_PERMUTATIONS,
    PLACES,
    SHARED,
    SHARED_APART,
    UNIQUE,
    UNIQUE_APART,
    Instrument,
    Sample,
    Setting,
    Test,
    f_table,
)
from moodlens.probes import kernel_ridge
from moodlens.probes.controls import Comparison, gain_interval
from moodlens.probes.folds import design_folds
from moodlens.stats.design import Unit
from moodlens.stats.gram import centred
from moodlens.stats.metrics import METRICS, MetricSettings
from moodlens.stats.multiplicity import max_p, max_t
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings
from moodlens.stats.sign_flip import better_p
from moodlens.stats.similarity import centred_cosines, naive_t
from moodlens.stats.units import units_of


def t_test(data: Sample, _rng: np.random.Generator) -> float:
    """Return the p of `ttest_ind(within, between)` over all pairs of clips, one layer."""
    result = naive_t(centred_cosines(data.site(0)), data.prompts, data.design.labels)
    return result.p if result.t > 0 else 1.0


def t_test_across(data: Sample, _rng: np.random.Generator) -> float:
    """Return the p of the same t-test over pairs of clips of different prompts only."""
    similarity = centred_cosines(data.site(0))
    rows, columns = np.triu_indices(len(data.prompts), 1)
    across = data.prompts[rows] != data.prompts[columns]
    values = similarity[rows[across], columns[across]]
    labels = data.design.labels[data.prompts]
    same = labels[rows[across]] == labels[columns[across]]
    return float(scipy_stats.ttest_ind(values[same], values[~same]).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def permanova_by_clip(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of PERMANOVA with single clips relabelled."""
    gram = centred(data.site(0).values)
    table = relabellings(data.design.labels[data.prompts], N_PERMUTATIONS, rng)
    return float(p_values(pseudo_f(gram[None], table))[0])


def plain_probe(data: Sample, rng: np.random.Generator) -> float:
    """Return the binomial p of `plain_accuracy`."""
    return plain_p(plain_accuracy(data, rng), len(data.prompts), 1 / data.design.n_classes)


def plain_p(accuracy: float, n_clips: int, chance: float) -> float:
    """Return the binomial p of an accuracy, clips taken for independent."""
    return float(scipy_stats.binom.sf(round(accuracy * n_clips) - 1, n_clips, chance))


def plain_accuracy(data: Sample, rng: np.random.Generator) -> float:
    """Return `plain_accuracy_of` the first layer."""
    return plain_accuracy_of(data.rows[0], data.design.labels[data.prompts], rng)


def plain_accuracy_of(
    rows: Float[np.ndarray, "clip dim"], labels: Int[np.ndarray, " clip"], rng: np.random.Generator
) -> float:
    """Return the accuracy of scikit-learn's logistic regression, five plain folds over clips."""
    folds = StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    scaled = rows / rows.std(dtype=np.float64)
    predicted = cross_val_predict(LogisticRegression(max_iter=1000), scaled, labels, cv=folds)
    return float(np.mean(predicted == labels))


SETTINGS = MetricSettings(cca_rank=4, n_slices=20, threshold=0.1, seed=0)
"""As `signal` in params.yaml, with fewer projections of the sliced Wasserstein distance. Their number changes
the noise of the distance, not the level of the test."""
N_SITES = 2
"""Sites that `any metric` runs over."""
TITLES = {
    "cosine_raw": "raw cosine",
    "cosine_centred": "centred cosine",
    "euclidean": "Euclidean distance",
    "cka": "debiased CKA",
    "cca": "CCA",
    "mmd_linear": "MMD, linear",
    "mmd_rbf": "MMD, RBF",
    "energy": "energy distance",
    "wasserstein": "sliced Wasserstein",
    "dimensions": "share of dimensions",
    "permdisp": "PERMDISP",
}


def _statistics(data: Sample, rng: np.random.Generator) -> np.ndarray:
    """Return (metric, site, perm), once per dataset: all metrics share Gram matrices and relabellings."""
    if "metrics" not in data.read:
        units = units_of([data.site(layer) for layer in range(N_SITES)], data.design, "wording")
        table = data.design.relabellings("wording", N_PERMUTATIONS, rng)
        data.read["metrics"] = np.stack(
            [metric.statistic(units, table, SETTINGS) for metric in METRICS.values()]
        )
    return data.read["metrics"]


def metric(name: str) -> Test:
    """Return a metric's p at the first site."""
    index = list(METRICS).index(name)
    return lambda data, rng: float(p_values(_statistics(data, rng)[index, 0]))


def any_metric(data: Sample, rng: np.random.Generator) -> float:
    """Return `p_any`: the smallest p, adjusted over metrics x sites."""
    statistics = _statistics(data, rng)
    return float(max_t(statistics.reshape(-1, statistics.shape[-1])).min())


WHY = {
    "permdisp": "residuals from the observed means are relabelled: they lie closer to these than to others"
}
SWEEP_TESTS = (
    *(
        Instrument(f"{title}, by wording", PLACES, metric(name), why_conservative=WHY.get(name, ""))
        for name, title in TITLES.items()
    ),
    Instrument(
        "any metric, maxT, by wording",
        PLACES,
        any_metric,
        why_conservative="PERMDISP, which is cautious, is in it",
    ),
)


N_BOOTSTRAP, N_FLIPS = 1000, 999
N_FOLDS, RIDGE = 8, 0.1
N_PROBED = 6
"""Layers over which the best probe is taken; the organism has as many."""

EQUALS = Setting(True, N_PROBED + 1, 0.0, everywhere=0.05)
"""Emotion equally strong in every layer and far from the ceiling: no probe is better than the baseline."""


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
        table = design.relabellings(unit, N_PERMUTATIONS, rng)[:, design.members(unit)]
        return max_p(kernel_ridge.accuracies(_predicted(data, unit, n_layers, table, rng), table))

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


def beats_baseline(unit: Unit) -> Test:
    """Return the p of one probe against a baseline, by sign flips.

    Where sites are chosen, both choose inside the training folds (`calibration.reader_nulls`).
    """

    def p(data: Sample, rng: np.random.Generator) -> float:
        correct = _correct(data, unit, rng)
        return float(better_p(correct[:1], correct[-1], data.design, unit, N_FOLDS, N_FLIPS, rng)[0])

    return p


def _correct(data: Sample, unit: Unit, rng: np.random.Generator) -> np.ndarray:
    """Return where the probes of all layers are right, (layer, prompt); the last layer is the baseline.

    The tests of a gain share one computation per dataset, on the folds of the first.
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
    return kernel_ridge.predictions(kernel_ridge.hats_of(data.grams[:n_layers], folds, RIDGE), table)


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
        beats_baseline("wording"),
        level=0.025,
        why_conservative=CAUTIOUS,
    ),
    *(replace(test, group="state") for test in null_text_tests.TESTS),
    *(replace(test, group="metrics") for test in SWEEP_TESTS),
    *(replace(test, group="chapters") for test in analysis_tests.TESTS),
)
"""Tests that carry a claim, or whose p is on the page."""

NAIVE = (
    Instrument("t-test on pairs of clips", UNIQUE, t_test, carries_claim=False),
    Instrument("t-test, same-prompt pairs dropped", UNIQUE, t_test_across, carries_claim=False),
    Instrument("PERMANOVA by clip", UNIQUE, permanova_by_clip, carries_claim=False),
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

PLAIN = Instrument("plain 5-fold probe, binomial p", UNIQUE, plain_probe, carries_claim=False)
"""Apart from `NAIVE`: scikit-learn's fits take as long as all other tests together."""
