"""What a claim requires of its evidence: the conditions with their numbers, and the grade they give."""

from typing import Literal

from moodlens.decision import sentences
from moodlens.decision.evidence import Condition, Evidence
from moodlens.params.pipeline import Decide


def grade(
    strong: tuple[Condition, ...], weak: tuple[Condition, ...]
) -> Literal["strong", "weak", "undecided"]:
    """Return the strongest claim whose conditions all hold, else undecided.

    >>> grade((Condition(False, "p = 0.01"),), (Condition(True, "p = 0.01"),))
    'weak'
    """
    if all(condition.holds for condition in strong):
        return "strong"
    return "weak" if all(condition.holds for condition in weak) else "undecided"


def conditions(evidence: Evidence, thresholds: Decide, *, strong: bool) -> tuple[Condition, ...]:
    """Return what a strong (or weak) claim requires, each with its numbers."""
    alpha, accuracy, effect = (
        (thresholds.alpha_strong, thresholds.accuracy_strong, thresholds.effect_strong)
        if strong
        else (thresholds.alpha_weak, thresholds.accuracy_weak, thresholds.effect_weak)
    )
    n = evidence.n_per_emotion
    one_sided = thresholds.alpha_weak / 2
    parts = [
        Condition(evidence.p < alpha, sentences.p_clause(evidence.p, alpha), evidence.n_needed),
        Condition(
            evidence.accuracy > accuracy,
            sentences.accuracy_clause(evidence.accuracy, accuracy),
            _n_to_settle(n, evidence.accuracy - accuracy, evidence.high - evidence.low),
        ),
    ]
    if evidence.effect is not None:
        width = evidence.effect_high - evidence.effect_low
        parts.append(
            Condition(
                evidence.effect > effect,
                sentences.effect_clause(evidence.effect, effect),
                _n_to_settle(n, evidence.effect - effect, width),
            )
        )
    if strong:
        clause = sentences.extreme_clause(evidence.ridge_accuracy, evidence.permuted_extreme)
        holds = evidence.ridge_accuracy > evidence.permuted_extreme
        parts.append(Condition(holds, clause, evidence.n_needed))
    for base in evidence.baselines:
        n_base = _n_to_settle(n, base.difference, base.high - base.low) if base.difference > 0 else None
        parts.append(Condition(base.p < one_sided, sentences.lead_clause(base, one_sided), n_base))
    for gain in evidence.gains:
        n_gain = _n_to_settle(n, gain.partial_r2, gain.high - gain.low) if gain.partial_r2 > 0 else None
        parts.append(Condition(gain.low > 0, sentences.gain_clause(gain), n_gain))
    if evidence.tempo_bpm is not None:
        clause = sentences.tempo_clause(evidence.tempo_bpm, thresholds.tempo_bpm)
        parts.append(Condition(evidence.tempo_bpm > thresholds.tempo_bpm, clause))
    return tuple(parts)


def _n_to_settle(n: float, distance: float, width: float) -> float | None:
    """Return the prompts per emotion at which an interval of this width would exclude a bound this far away.

    The width of an interval falls with the root of n. None where the value lies on the bound.
    """
    return max(n, n * (width / 2 / abs(distance)) ** 2) if distance else None
