"""What a claim requires of its evidence: the conditions with their numbers, and the grade they give.

Accuracy thresholds are shares of the way from chance to 1, so that two and five emotions have equal bars.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from moodlens.decision import sentences
from moodlens.decision.evidence import Condition, Evidence
from moodlens.params.pipeline import Decide
from moodlens.stats.bootstrap import accuracy_at
from moodlens.stats.sign_flip import require_gain_reachable


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
    """Return what a strong (or weak) claim requires, each with its numbers.

    Raises:
        ContractError: the wordings are too few for the comparison with a baseline.
    """
    alpha, share, effect = (
        (thresholds.alpha_strong, thresholds.accuracy_strong, thresholds.effect_strong)
        if strong
        else (thresholds.alpha_weak, thresholds.accuracy_weak, thresholds.effect_weak)
    )
    accuracy = accuracy_at(share, evidence.n_emotions)
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
    parts += _transfer_conditions(evidence, thresholds.alpha_weak, strong=strong)
    for base in evidence.baselines:
        if evidence.n_units is not None:
            thing = f"the comparison with the {base.name}"
            require_gain_reachable(
                thing, evidence.n_units, evidence.n_folds, evidence.n_permutations, one_sided
            )
        n_base = _n_to_settle(n, base.difference, base.high - base.low) if base.difference > 0 else None
        parts.append(Condition(base.p < one_sided, sentences.lead_clause(base, one_sided), n_base))
    for gain in evidence.gains:
        n_gain = _n_to_settle(n, gain.partial_r2, gain.high - gain.low) if gain.partial_r2 > 0 else None
        parts.append(Condition(gain.low > 0, sentences.gain_clause(gain), n_gain))
    return tuple(parts)


def _transfer_conditions(evidence: Evidence, alpha: float, *, strong: bool) -> list[Condition]:
    """Return the condition on one code for all prompt sets.

    Prompts of one set cannot show it, nor can so few emotions and sets that no renaming of them is rare. A
    weak claim is then a claim about wordings; a strong one is not made. The level is that of a weak claim for
    both: renamings count emotions and sets, and 4 emotions in 3 sets have 576.
    """
    found = evidence.transfer
    if found is None:
        return []
    if found.p is None or found.smallest_p is None or found.smallest_p >= alpha:
        reason = found.not_tested or sentences.FEW_RENAMINGS
        return [Condition(False, sentences.transfer_not_tested(reason))] if strong else []
    return [Condition(found.p < alpha, sentences.transfer_clause(found, alpha))]


def _n_to_settle(n: float, distance: float, width: float) -> float | None:
    """Return the prompts per emotion at which an interval of this width would exclude a bound this far away.

    The width of an interval falls with the root of n. None where the value lies on the bound.
    """
    return max(n, n * (width / 2 / abs(distance)) ** 2) if distance else None


@dataclass(frozen=True)
class WordingsNeeded:
    """The wordings per emotion that are expected to settle an undecided rung."""

    now: int  # per emotion, mean, rounded
    total: int | None  # expected to settle it; None: no number is
    available: int | None  # that the prompt sets hold, per emotion; None: not known

    @property
    def more(self) -> int | None:
        """Return how many to add; None where no number settles it or the sets do not hold so many."""
        out_of_reach = self.total is None or (self.available is not None and self.total > self.available)
        return None if out_of_reach or self.total is None else max(self.total - self.now, 1)

    def prompts(self, n_per_emotion: float) -> int | None:
        """Return the prompts per emotion in which `total` wordings stand, if as many share one as now."""
        return None if self.total is None or not self.now else ceil(self.total * n_per_emotion / self.now)

    @property
    def beyond_the_sets(self) -> bool:
        """Return whether a number would settle it but the prompt sets do not hold so many wordings."""
        return self.total is not None and self.available is not None and self.total > self.available


def wordings_needed(evidence: Evidence, weak: tuple[Condition, ...], alpha: float) -> WordingsNeeded:
    """Return the wordings per emotion that would settle every failed condition of a weak claim.

    Where p is not below alpha, what is missing is the power to say "none" (`Evidence.units_needed`).

    Args:
        evidence: of an undecided rung, wordings as units.
        weak: its conditions of a weak claim.
        alpha: level of the weak claim.
    """
    now = (evidence.n_units or 0) / evidence.n_emotions
    if evidence.p >= alpha:
        total = evidence.units_needed
    else:
        prompts = [condition.n for condition in weak if not condition.holds]
        known = [n for n in prompts if n is not None]
        settled = bool(known) and len(known) == len(prompts)
        total = ceil(max(known) * now / evidence.n_per_emotion) if settled else None
    if total is not None and total <= now:
        total = None
    return WordingsNeeded(round(now), total, evidence.units_available)
