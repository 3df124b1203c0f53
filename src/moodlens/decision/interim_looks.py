"""Repeated looks at a growing set of prompts, and what each look may spend of alpha.

Who tests at 10 prompts per emotion, then at 20, then at 50, each time at .05, has not tested at .05. Looks
are planned in params.yaml (`decide.looks`); the share of alpha that each may use follows O'Brien and Fleming.
"""

from dataclasses import dataclass, replace

from moodlens.base.errors import UsageError, must
from moodlens.params.pipeline import Decide
from moodlens.stats.spending import overall, spent


@dataclass(frozen=True)
class Look:
    """Where this run stands in the planned looks, and the levels it may test at."""

    number: int  # 1 = the first
    planned: int
    n_per_emotion: int
    alpha_weak: float  # nominal level of this look
    alpha_strong: float
    alpha_spent: float  # of the weak level, by this look and those before it


def look_of(n_per_emotion: int, thresholds: Decide) -> Look:
    """Return the look that `n_per_emotion` prompts are; without a plan it is the only one.

    Raises:
        UsageError: the plan does not hold this number of prompts, or does not grow.
    """
    plan = thresholds.looks or (n_per_emotion,)
    if list(plan) != sorted(set(plan)):
        advice = "Write the prompts per emotion of each look, smallest first"
        raise UsageError(must("decide.looks", "grow", list(plan), where="params.yaml", next_step=advice))
    if n_per_emotion not in plan:
        rule = f"be one of the planned looks, {', '.join(map(str, plan))}"
        advice = "Go to a planned number, or empty decide.looks: then this run is the only look"
        raise UsageError(
            must("prompts.n_per_emotion", rule, n_per_emotion, where="params.yaml", next_step=advice)
        )
    at = plan.index(n_per_emotion)
    fractions = [n / plan[-1] for n in plan]
    weak, strong = spent(thresholds.alpha_weak, fractions), spent(thresholds.alpha_strong, fractions)
    used = overall(weak[: at + 1], fractions[: at + 1])
    return Look(at + 1, len(plan), n_per_emotion, weak[at], strong[at], used)


def at_look(thresholds: Decide, look: Look) -> Decide:
    """Return the thresholds with the levels that this look may test at."""
    return replace(thresholds, alpha_weak=look.alpha_weak, alpha_strong=look.alpha_strong)
