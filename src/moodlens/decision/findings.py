"""What is measured beside the ladder: the words of the prompts (a check of the design) and null-text states.

Neither has a verdict, so neither can count as reached. Both hold the conditions of a strong claim and whether
each holds, as a description. Random deals of wordings to labels pass the check of the words in .88 of deals.
An untrained decoder's running mean of its own states meets the conditions on null-text states. An outside
review measured both.

Each factor of the music is described as a part of the finding: how well null-text states tell the factor that
prompts ask for. A state is computed from the tokens it was
fed, so it is not expected to beat a reader of all of them (docs/null_text.md). The description names the
readers that it beats and those that it is not shown to beat: untrained decoders, the tokens and codec vectors
of the same steps, the other descriptors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moodlens.decision import sentences
from moodlens.decision.conditions import conditions
from moodlens.decision.evidence import Baseline, Condition, Evidence
from moodlens.params.pipeline import Decide


@dataclass(frozen=True)
class Finding:
    """Numbers with the sentence that says what they show, and the note that limits it."""

    sentence: str
    note: str  # why the conditions license nothing
    statistic: str
    accuracy: float  # balanced, logistic probe
    low: float
    high: float
    p: float  # maxT over the sites
    effect: float | None  # centred within - between similarity
    baselines: tuple[Baseline, ...]
    conditions: tuple[Condition, ...]  # of a strong claim


def words_check(evidence: Evidence, thresholds: Decide) -> Finding:
    """Return the check of the design: how well a probe on the words names the emotion of held-out prompts."""
    tells = evidence.p < thresholds.alpha_weak
    sentence = sentences.WORDS_TELL if tells else sentences.WORDS_DO_NOT_TELL
    return _finding(sentence, evidence, thresholds, sentences.RANDOM_DEALS)


def null_text_finding(evidence: Evidence, thresholds: Decide) -> Finding:
    """Return what states under null text tell of the music they are fed.

    The sentence names no more than the tests show: nothing where p is not below alpha_weak; that untrained
    decoders tell as much where a difference to one of them is not significant.
    """
    if evidence.p >= thresholds.alpha_weak:
        sentence = sentences.NOT_SHOWN
    elif any(base.p >= thresholds.alpha_weak / 2 for base in evidence.baselines):
        sentence = sentences.AS_UNTRAINED
    else:
        sentence = sentences.SUMMARISES
    return _finding(sentence, evidence, thresholds, sentences.DESCRIBED)


def _finding(sentence: str, evidence: Evidence, thresholds: Decide, note: str) -> Finding:
    return Finding(
        sentence=sentence,
        note=note,
        statistic=sentences.statistic(evidence),
        accuracy=evidence.accuracy,
        low=evidence.low,
        high=evidence.high,
        p=evidence.p,
        effect=evidence.effect,
        baselines=(*evidence.baselines, *evidence.beside),
        conditions=conditions(evidence, thresholds, strong=True),
    )


NUMBERS = ("r2", "low", "high", "p", "prompted_r", "prompted_p")
"""Fields of a factor in metrics/null_text.json that its description repeats."""


@dataclass(frozen=True)
class FactorDescription:
    """What null-text states tell of one factor, in sentences and in numbers."""

    sentences: str
    better_than: tuple[str, ...]  # readers whose error is larger, one-sided p < alpha_weak / 2
    not_shown_against: tuple[str, ...]  # the other readers
    r2: float
    low: float
    high: float
    p: float
    prompted_r: float
    prompted_p: float


def describe_factor(name: str, result: Mapping[str, Any], thresholds: Decide) -> FactorDescription:
    """Return the description of one factor.

    Args:
        name: of the factor.
        result: its entry under `factors` in metrics/null_text.json.
        thresholds: the user's, params.yaml `decide`.
    """
    one_sided = thresholds.alpha_weak / 2
    beaten = tuple(reader for reader, lead in result["leads"].items() if lead["p"] < one_sided)
    others = tuple(reader for reader in result["leads"] if reader not in beaten)
    return FactorDescription(
        sentences=sentences.factor_sentences(name, result, beaten, others),
        better_than=beaten,
        not_shown_against=others,
        **{key: result[key] for key in NUMBERS},
    )
