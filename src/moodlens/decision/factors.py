"""A verdict for each factor of the music: does a null-text state hold the one that prompts ask for?

strong     p and prompted p below alpha_strong, R2 above effect_strong, told better than by every other
           reader: untrained decoders, the tokens and codec vectors of the same steps, the other descriptors
weak       p and prompted p below alpha_weak, R2 above effect_weak, told better than by the untrained decoders
undecided  anything else: no equivalence is tested here, so "none" is never said

Both words ask that the rung `state` be reached: factors are looked at behind it (a gate), so that four more
tests are not four more ways for a state without emotion to be found.

A state is made from the tokens it was fed, so a reader of all of them is not expected to be beaten
(docs/null_text.md): "weak" is what a true state usually gets; the rule names the readers that are as good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from moodlens.decision.ladder import REACHED, Condition, Verdict
from moodlens.null_text.evidence import REQUIRED
from moodlens.params.pipeline import Decide

FactorWord = Literal["strong", "weak", "undecided"]


@dataclass(frozen=True)
class FactorVerdict:
    """The verdict on one factor with the rule that fired."""

    verdict: FactorWord
    rule: str
    r2: float
    low: float
    high: float
    p: float
    prompted_r: float
    prompted_p: float


def judge_factor(
    name: str, found: Mapping[str, Any], thresholds: Decide, state_verdict: Verdict
) -> FactorVerdict:
    """Return the verdict on one factor of `factors` in metrics/null_text.json.

    Args:
        state_verdict: on the rung `state`.
    """
    gate = Condition(
        state_verdict in REACHED, f"the rung state is {state_verdict} (asked: {' or '.join(REACHED)})"
    )
    strong, weak = ((gate, *_conditions(name, found, thresholds, strong)) for strong in (True, False))
    if all(condition.holds for condition in strong):
        verdict, rule = "strong", f"strong, because {_listed(strong, True)}"
    elif all(condition.holds for condition in weak):
        rule = f"weak, because {_listed(weak, True)}; not strong, because {_listed(strong, False)}"
        verdict = "weak"
    else:
        verdict, rule = "undecided", f"undecided, because {_listed(weak, False)}"
    numbers = {key: found[key] for key in ("r2", "low", "high", "p", "prompted_r", "prompted_p")}
    return FactorVerdict(verdict, rule, **numbers)


def _conditions(
    name: str, found: Mapping[str, Any], thresholds: Decide, strong: bool
) -> tuple[Condition, ...]:
    alpha, least = (
        (thresholds.alpha_strong, thresholds.effect_strong)
        if strong
        else (thresholds.alpha_weak, thresholds.effect_weak)
    )
    asked = f"what is read out follows the {found['asked_by']} of the prompts"
    parts = [
        Condition(
            found["p"] < alpha, f"{name} of the music is told at p = {found['p']:.2g} (asked: < {alpha:g})"
        ),
        Condition(found["r2"] > least, f"R2 {found['r2']:.3f} (asked: > {least:g})"),
        Condition(
            found["prompted_p"] < alpha,
            f"{asked}: r = {found['prompted_r']:.2f}, p = {found['prompted_p']:.2g} (asked: < {alpha:g})",
        ),
    ]
    one_sided = thresholds.alpha_weak / 2
    for reader, lead in found["leads"].items():
        if strong or reader in REQUIRED:
            clause = (
                f"{lead['difference']:+.3f} [{lead['low']:+.3f}, {lead['high']:+.3f}] against the {reader}, "
                f"p = {lead['p']:.2g} (asked: < {one_sided:g})"
            )
            parts.append(Condition(lead["p"] < one_sided, clause))
    return tuple(parts)


def _listed(parts: tuple[Condition, ...], holding: bool) -> str:
    return "; ".join(condition.clause for condition in parts if condition.holds is holding)
