"""A verdict for each factor of the music: does a null-text state hold the one that prompts ask for?

strong     p and prompted p below alpha_strong, R2 above effect_strong, predicted better than by every other
           reader: untrained decoders, the tokens and codec vectors of the same steps, the other descriptors
weak       p and prompted p below alpha_weak, R2 above effect_weak, predicted better than by the untrained
           decoders
undecided  anything else; no equivalence is tested here, so "none" is not a verdict

Strong and weak both require that the rung `state` is reached. The factors are tested behind this gate, so
that a state without emotion does not get four more chances of a false positive.

A state is computed from the tokens it was fed, so it is not expected to beat a reader of all of them
(docs/null_text.md). A state that holds a factor therefore usually gets "weak"; the rule names the readers
that are as good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from moodlens.decision import sentences
from moodlens.decision.evidence import Baseline, Condition
from moodlens.decision.ladder import REACHED, Verdict, grade
from moodlens.null_text.evidence import REQUIRED
from moodlens.params.pipeline import Decide

FactorWord = Literal["strong", "weak", "undecided"]
NUMBERS = ("r2", "low", "high", "p", "prompted_r", "prompted_p")
"""Fields of a factor in metrics/null_text.json that its verdict repeats."""


@dataclass(frozen=True)
class FactorVerdict:
    """The verdict on one factor with the rule that gave it."""

    verdict: FactorWord
    rule: str
    r2: float
    low: float
    high: float
    p: float
    prompted_r: float
    prompted_p: float


def judge_factor(
    name: str, result: Mapping[str, Any], thresholds: Decide, state_verdict: Verdict
) -> FactorVerdict:
    """Return the verdict on one factor.

    Args:
        name: of the factor.
        result: its entry under `factors` in metrics/null_text.json.
        thresholds: the user's, params.yaml `decide`.
        state_verdict: on the rung `state`.
    """
    clause = f"the rung state is {state_verdict} (required: {' or '.join(REACHED)})"
    gate = Condition(state_verdict in REACHED, clause)
    strong, weak = ((gate, *_conditions(name, result, thresholds, strong=strong)) for strong in (True, False))
    verdict = grade(strong, weak)
    numbers = {key: result[key] for key in NUMBERS}
    return FactorVerdict(verdict=verdict, rule=sentences.rule(verdict, strong, weak), **numbers)


def _conditions(
    name: str, result: Mapping[str, Any], thresholds: Decide, *, strong: bool
) -> tuple[Condition, ...]:
    alpha, least = (
        (thresholds.alpha_strong, thresholds.effect_strong)
        if strong
        else (thresholds.alpha_weak, thresholds.effect_weak)
    )
    p, r2, prompted_p = result["p"], result["r2"], result["prompted_p"]
    follows = (
        f"the prediction follows the {result['asked_by']} of the prompts: r = {result['prompted_r']:.2f}"
    )
    parts = [
        Condition(p < alpha, f"{name} of the music is predicted at {sentences.p_clause(p, alpha)}"),
        Condition(r2 > least, f"R2 {r2:.3f} (required: > {least:g})"),
        Condition(prompted_p < alpha, f"{follows}, {sentences.p_clause(prompted_p, alpha)}"),
    ]
    one_sided = thresholds.alpha_weak / 2
    for reader, lead in result["leads"].items():
        if strong or reader in REQUIRED:
            base = Baseline(reader, lead["value"], *(lead[key] for key in ("difference", "low", "high", "p")))
            parts.append(Condition(base.p < one_sided, sentences.lead_clause(base, one_sided)))
    return tuple(parts)
