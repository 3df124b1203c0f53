"""What is measured beside the ladder: the words of the prompts (a check of the design) and null-text states.

Neither has a verdict, so neither can count as reached. Both hold the conditions of a strong claim and whether
each holds, as a description. Random deals of wordings to labels pass the check of the words in .88 of deals.
An untrained decoder's running mean of its own states meets the conditions on null-text states. An outside
review measured both.
"""

from dataclasses import dataclass

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
