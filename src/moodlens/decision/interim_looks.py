"""Interim looks at a growing set of prompts, and the share of alpha that each look may spend.

Testing at 10, then 20, then 50 prompts per emotion, each time at .05, gives a type-I error above .05. Looks
are therefore planned in params.yaml (`decide.looks`), and alpha is spent as O'Brien and Fleming propose.
"""

from dataclasses import dataclass, replace

from moodlens.base.errors import UsageError, must
from moodlens.params.pipeline import Decide
from moodlens.stats.spending import overall, spent


@dataclass(frozen=True)
class Look:
    """The position of this run in the planned looks, and the levels it tests at."""

    number: int  # 1 = the first
    planned: int
    n_per_emotion: int
    alpha_weak: float  # nominal level of this look
    alpha_strong: float
    alpha_spent: float  # of the weak level, by this look and those before it


def look_of(n_per_emotion: int, thresholds: Decide) -> Look:
    """Return the look at `n_per_emotion` prompts; without a plan it is the only one.

    Raises:
        UsageError: the plan does not contain this number of prompts, or is not increasing.
    """
    plan = thresholds.looks or (n_per_emotion,)
    if list(plan) != sorted(set(plan)):
        advice = "List the prompts per emotion of each look, smallest first"
        raise UsageError(must("decide.looks", "increase", list(plan), where="params.yaml", next_step=advice))
    if n_per_emotion not in plan:
        rule = f"be one of the planned looks, {', '.join(map(str, plan))}"
        advice = "Use a planned number, or empty decide.looks to make this run the only look"
        raise UsageError(
            must("prompts.n_per_emotion", rule, n_per_emotion, where="params.yaml", next_step=advice)
        )
    at = plan.index(n_per_emotion)
    fractions = [n / plan[-1] for n in plan]
    weak, strong = spent(thresholds.alpha_weak, fractions), spent(thresholds.alpha_strong, fractions)
    used = overall(weak[: at + 1], fractions[: at + 1])
    return Look(at + 1, len(plan), n_per_emotion, weak[at], strong[at], used)


def at_look(thresholds: Decide, look: Look) -> Decide:
    """Return the thresholds with the levels of this look."""
    return replace(thresholds, alpha_weak=look.alpha_weak, alpha_strong=look.alpha_strong)
