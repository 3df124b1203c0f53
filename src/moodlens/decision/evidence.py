"""What the ladder looks at: one record per rung, filled from the metrics of `signal` and `probe`."""

from dataclasses import dataclass

from moodlens.stats.design import Unit


@dataclass(frozen=True)
class Baseline:
    """Accuracy of a probe minus that of a baseline on the same folds; p decides, the interval describes."""

    name: str
    accuracy: float
    difference: float
    low: float
    high: float
    p: float  # one-sided, over the best of the family's probes


@dataclass(frozen=True)
class Gain:
    """Out-of-fold R2 of the emotion that a site adds to what `name` already tells, with its interval."""

    name: str
    partial_r2: float
    low: float
    high: float


@dataclass(frozen=True)
class Evidence:
    """What was measured for one rung at its best site; accuracies are balanced, chance 1 / n_emotions."""

    site: str
    unit: Unit  # what folds hold out and relabelling moves
    n_emotions: int
    n_per_emotion: float  # prompts, mean over emotions
    n_permutations: int
    smallest_p: float
    accuracy: float  # logistic probe
    low: float
    high: float
    ridge_accuracy: float  # closed form; beside `p` and `permuted_extreme`, which are this probe's
    permuted_extreme: float  # 99.9th percentile of the best site on permuted labels
    p: float  # maxT over the rung's sites
    effect: float | None  # centred within - between similarity at the site of largest F; None: not asked
    effect_low: float
    effect_high: float
    p_signal: float  # PERMANOVA, maxT over the rung's sites, same unit
    delta: float  # share of variance of the injected effect
    power: float  # share of injected effects that test would have seen, weakest site
    n_needed: int | None  # prompts per emotion at which it would see enough of them
    baselines: tuple[Baseline, ...] = ()  # each must be beaten
    beside: tuple[Baseline, ...] = ()  # shown, not required
    gains: tuple[Gain, ...] = ()  # each must be above zero
    tempo_bpm: float | None = None  # fastest minus slowest emotion, medians; music only
