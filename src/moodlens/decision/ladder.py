"""The ladder of claims: words, text code, music, state, use. Each rung has its own test; none is inferred.

strong    every condition of a strong claim holds
weak      every condition of a weak claim holds
none      the tests are not significant and would have detected an effect of delta: equivalence, not absence
          of evidence
undecided anything else, with the number of prompts that is expected to settle it
untested  no evidence was collected for the rung
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from moodlens.decision import sentences
from moodlens.decision.evidence import Baseline, Condition, Evidence
from moodlens.params.pipeline import Decide
from moodlens.stats.permutation import require_reachable

Verdict = Literal["strong", "weak", "none", "undecided", "untested"]
REACHED: tuple[Verdict, ...] = ("strong", "weak")
"""Verdicts under which a rung counts as reached."""
RUNGS = ("words", "text_code", "music", "state", "use")
MOST_PROMPTS = 500
"""Prompts per emotion above which "more prompts" is no longer advice."""


@dataclass(frozen=True)
class Rung:
    """The verdict on one rung (or finding) and what decided it."""

    name: str
    verdict: Verdict
    statistic: str = ""
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None
    baselines: tuple[Baseline, ...] = ()
    rule: str = ""
    next_step: str = ""
    more_prompts: int | None = None  # per emotion, for an undecided rung that prompts can settle


@dataclass(frozen=True)
class Decision:
    """All rungs in order, the highest one reached ("" if none), and the finding on the layers."""

    rungs: tuple[Rung, ...]
    layers: Rung
    highest: str
    headline: str


def decide(evidence: Mapping[str, Evidence], thresholds: Decide) -> Decision:
    """Return the decision on every rung.

    Args:
        evidence: of the rungs and of the finding `layers`; what is absent is untested.
        thresholds: the user's, params.yaml `decide`.

    Raises:
        ContractError: a threshold lies below the smallest p that a rung's design can give.
    """
    rung_of = {
        name: judge(name, evidence[name], thresholds) if name in evidence else untested(name)
        for name in (*RUNGS, "layers")
    }
    rungs = tuple(rung_of[name] for name in RUNGS)
    reached = tuple(rung.name for rung in rungs if rung.verdict in REACHED)
    return Decision(
        rungs=rungs,
        layers=rung_of["layers"],
        highest=reached[-1] if reached else "",
        headline=sentences.headline({rung.name: rung.verdict for rung in rungs}, reached),
    )


def untested(name: str) -> Rung:
    """Return the record of a rung without evidence."""
    step = sentences.UNTESTED_STEPS.get(name, sentences.OTHER_UNTESTED_STEP)
    return Rung(name=name, verdict="untested", rule=sentences.NO_EVIDENCE, next_step=step)


def judge(name: str, evidence: Evidence, thresholds: Decide) -> Rung:
    """Return the verdict on one rung from its evidence.

    Raises:
        ContractError: a threshold lies below the smallest p that the design can give.
    """
    require_reachable(
        f"rung {name}",
        evidence.smallest_p,
        evidence.n_permutations,
        evidence.n_emotions,
        evidence.unit,
        thresholds.alpha_strong,
    )
    strong, weak = (conditions(evidence, thresholds, strong=strong) for strong in (True, False))
    verdict: Verdict = grade(strong, weak)
    if verdict == "undecided" and _is_equivalent(evidence, thresholds):
        verdict = "none"
        rule = sentences.none_rule(evidence, thresholds.alpha_weak, thresholds.equivalence_power)
    else:
        rule = sentences.rule(verdict, strong, weak)
    more = _more_prompts(evidence, weak, thresholds.alpha_weak) if verdict == "undecided" else None
    step = {
        "strong": sentences.SETTLED,
        "weak": sentences.CONFIRM,
        "none": sentences.REPORT_NONE,
        "undecided": sentences.more_prompts_step(more, ceil(evidence.n_per_emotion + (more or 0))),
    }[verdict]
    if name == "layers":
        rule = f"{rule}. {sentences.LAYERS_READ_TEXT}"
        step = step if verdict == "undecided" else sentences.SEE_STATE
    return Rung(
        name=name,
        verdict=verdict,
        statistic=sentences.statistic(evidence),
        accuracy=evidence.accuracy,
        low=evidence.low,
        high=evidence.high,
        p=evidence.p,
        effect=evidence.effect,
        baselines=(*evidence.baselines, *evidence.beside),
        rule=rule,
        next_step=step,
        more_prompts=more,
    )


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


def _is_equivalent(evidence: Evidence, thresholds: Decide) -> bool:
    not_significant = min(evidence.p, evidence.p_signal) >= thresholds.alpha_weak
    return not_significant and evidence.power >= thresholds.equivalence_power


def _n_to_settle(n: float, distance: float, width: float) -> float | None:
    """Return the prompts per emotion at which an interval of this width would exclude a bound this far away.

    The width of an interval falls with the root of n. None where the value lies on the bound.
    """
    return max(n, n * (width / 2 / abs(distance)) ** 2) if distance else None


def _more_prompts(evidence: Evidence, weak: tuple[Condition, ...], alpha: float) -> int | None:
    """Return how many more prompts per emotion would settle every failed condition; None if none would."""
    if evidence.p >= alpha:
        total = evidence.n_needed  # not significant: what is missing is the power to say "none"
    else:
        needed = [condition.n for condition in weak if not condition.holds]
        total = None if None in needed else max(n for n in needed if n is not None)
    if total is None or total > MOST_PROMPTS:
        return None
    more = ceil(total - evidence.n_per_emotion)
    return more if more > 0 else None
