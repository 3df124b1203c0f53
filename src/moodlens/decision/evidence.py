"""The evidence for one rung of the ladder, filled from the metrics of the stages that measured it."""

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
    p: float  # one-sided; model and baseline choose their sites in the same training folds


@dataclass(frozen=True)
class Gain:
    """Out-of-fold R2 of the emotion that a site adds to what `name` already explains, with its interval."""

    name: str
    partial_r2: float
    low: float
    high: float


@dataclass(frozen=True)
class TransferEvidence:
    """How a probe trained on one prompt set reads the others, on average over all directions."""

    p: float | None  # of one code for all sets, the emotions of whole sets renamed; None: not tested
    smallest_p: float | None  # that the renamings can give
    mean_accuracy: float | None
    not_tested: str = ""  # why not


@dataclass(frozen=True)
class Evidence:
    """What was measured for one rung; accuracies are balanced, chance 1 / n_emotions."""

    site: str  # the most accurate one; the accuracy is that of the site each training fold chooses
    unit: Unit  # what folds hold out and what is relabelled
    n_emotions: int
    n_per_emotion: float  # prompts, mean over emotions
    n_permutations: int
    smallest_p: float
    accuracy: float  # logistic probe, its site chosen inside each training fold
    low: float
    high: float
    ridge_accuracy: float  # closed-form probe; `p` and `permuted_extreme` are of this probe
    permuted_extreme: float  # 99.9th percentile of the best site on permuted labels
    p: float  # of the probe, maxT over the rung's sites; with W_d* in use not below `p_signal`
    effect: (
        float | None
    )  # centred within - between similarity at the site of largest standardised F; None: not required
    effect_low: float
    effect_high: float
    p_signal: float  # PERMANOVA, maxT over the rung's sites, same unit
    delta: float  # share of variance of the injected effect
    power: float  # share of injected effects that the test detects, weakest site
    n_needed: int | None  # prompts per emotion at which the test would detect enough of them
    baselines: tuple[Baseline, ...] = ()  # each must be beaten
    beside: tuple[Baseline, ...] = ()  # reported, not required
    gains: tuple[Gain, ...] = ()  # each must be above zero
    transfer: TransferEvidence | None = None  # between prompt sets; None: the rung does not ask for it
    n_units: int | None = None  # units of all emotions; None: not known
    n_folds: int = 1  # of the cross-validation behind the comparisons
    units_needed: int | None = None  # `n_needed` in units per emotion
    units_available: int | None = None  # wordings per emotion that the prompt sets hold; None: not known


@dataclass(frozen=True)
class Condition:
    """One requirement of a claim, as a clause with its numbers."""

    holds: bool
    clause: str
    n: float | None = None  # prompts per emotion at which it is expected to be settled; None: no number is
