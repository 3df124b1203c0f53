"""What is measured beside the ladder: the words of the prompts (a check of the design) and null-text states.

Neither has a verdict, so neither can count as reached. Both hold conditions and whether each holds. Wordings
that are dealt to labels at random pass the check of the words too (calibration/rates.csv). Its conditions
therefore license nothing.

Null-text states are computed from the tokens they were fed and hold no more than those. One sentence about
them is a claim: that a trained state summarises the emotion of its past more accessibly than untrained memory
does. It is said where few prompts read the state better than every family of readers that know no emotion
(`null_text.untrained_memory`): one-sided p below alpha_weak / 2 against each. Otherwise they are described.

Each factor of the music is described as a part of the finding: how well null-text states tell the factor that
prompts ask for. The description names the readers that the state beats and those that it is not shown to
beat: untrained decoders, the tokens and codec vectors of the same steps, the other descriptors.
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
    note: str  # what the sentence does not say
    statistic: str
    accuracy: float  # balanced, logistic probe
    low: float
    high: float
    p: float  # maxT over the sites
    effect: float | None  # centred within - between similarity
    baselines: tuple[Baseline, ...]
    conditions: tuple[Condition, ...]  # of a strong claim; of a claim about null-text states


def words_check(evidence: Evidence, thresholds: Decide) -> Finding:
    """Return the check of the design: how well a probe on the words names the emotion of held-out prompts."""
    tells = evidence.p < thresholds.alpha_weak
    sentence = sentences.WORDS_TELL if tells else sentences.WORDS_DO_NOT_TELL
    required = conditions(evidence, thresholds, strong=True)
    return _finding(sentence, evidence, required, sentences.RANDOM_DEALS)


def null_text_finding(evidence: Evidence, thresholds: Decide) -> Finding:
    """Return what states under null text tell of the music they are fed.

    The baselines of `evidence` are the families of readers of the same tokens; their accuracy is a few-shot
    area. A finding without a baseline is no claim.
    """
    one_sided = thresholds.alpha_weak / 2
    tells = Condition(
        evidence.p < thresholds.alpha_weak, sentences.p_clause(evidence.p, thresholds.alpha_weak)
    )
    beaten = tuple(
        Condition(base.difference > 0 and base.p < one_sided, sentences.lead_clause(base, one_sided))
        for base in evidence.baselines
    )
    if not tells.holds:
        sentence = sentences.NOT_SHOWN
    elif beaten and all(condition.holds for condition in beaten):
        sentence = sentences.MORE_ACCESSIBLE
    else:
        sentence = sentences.SUMMARISES
    return _finding(sentence, evidence, (tells, *beaten), sentences.SAME_CONTENT)


def _finding(sentence: str, evidence: Evidence, required: tuple[Condition, ...], note: str) -> Finding:
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
        conditions=required,
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
