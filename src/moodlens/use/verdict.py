"""The verdict on use.

strong    p < `alpha_strong`, rank p <= `rank_strong`, share >= `share_strong`, and what weak asks besides
weak      p < `alpha_weak`, rank p <= `rank_weak`, share >= `share_weak`; the exchange moves the music toward
          the donor both ways; both controls are null
none      the share lies inside the margin (two one-sided tests at `alpha_weak`), and the net effect is not
          significant
undecided anything else

The share is that of the mediated effect. A control is null unless it is significant, at `alpha_weak` over
both (Bonferroni), and as large as `share_weak`. A large one that is not significant still counts: the net
effect, whose p decides, is that beyond other words of the same emotion. Where the prompts do not move the
judge, shares are of the judge's own gap.
"""

from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import Literal

from moodlens.stats.sign_flip import smallest_flip_p
from moodlens.use.evidence import Arm, Bars, Evidence

N_CONTROLS = 2
"""Other words of the same emotion, and the same text over other music."""
UseVerdict = Literal["strong", "weak", "none", "undecided"]


@dataclass(frozen=True)
class Use:
    """The verdict on the rung use, and what it rests on."""

    verdict: UseVerdict
    rule: str  # why, in words
    evidence: Evidence


def judge_use(evidence: Evidence, bars: Bars, *, of_judge: bool) -> Use:
    """Return the verdict.

    Args:
        evidence: of the frozen test.
        bars: thresholds.
        of_judge: whether shares are of the judge's own gap, because the prompts move the judge too little.
    """
    mediated = evidence.mediated
    met = f"p = {evidence.p:.2g}, rank p = {evidence.rank_p:.2g} and share {mediated.share:.2f}"
    not_strong = _missing(evidence, bars, "strong")
    not_weak = _missing(evidence, bars, "weak")
    inside = max(abs(mediated.narrow_low), abs(mediated.narrow_high)) < bars.margin
    within = (
        f"the interval of the share, {mediated.narrow_low:.2f} to {mediated.narrow_high:.2f}, is "
        f"{'' if inside else 'not '}within +-{bars.margin:g}"
    )
    silent = evidence.net_p >= bars.alpha_weak
    verdict: UseVerdict
    if not not_strong:
        verdict, rule = "strong", met
    elif not not_weak:
        verdict, rule = "weak", f"{met}; not strong: {', '.join(not_strong)}"
    elif inside and silent:
        verdict = "none"
        rule = f"the exchange is not significant (p = {evidence.net_p:.2g}), and {within}"
    else:
        verdict = "undecided"
        rule = f"not weak: {', '.join(not_weak)}; not none: {within}"
        if not silent:
            rule += f", and the exchange is significant (p = {evidence.net_p:.2g})"
    if of_judge:
        rule += "; shares are of the judge's own gap, because the prompts move the judge too little"
    return Use(verdict, rule, evidence)


def is_null(control: Arm, bars: Bars) -> bool:
    """Return whether a control shows no effect that is both significant and as large as a weak share."""
    return control.p >= bars.alpha_weak / N_CONTROLS or abs(control.share) < bars.share_weak


def draws_needed(bar: float) -> int:
    """Return the fewest null directions with which a rank p can be as low as `bar`.

    >>> draws_needed(0.005), draws_needed(0.025)
    (199, 39)
    """
    return ceil(1 / bar - 1e-6) - 1


def units_needed(alpha: float, n_flips: int) -> int:
    """Return the fewest units whose sign flips can give p < alpha; `n_flips` must be enough for it.

    >>> units_needed(0.05, 9999), units_needed(0.001, 9999)
    (6, 11)
    """
    return next(n for n in count(1) if smallest_flip_p(n, n_flips) < alpha)


def _missing(evidence: Evidence, bars: Bars, level: Literal["strong", "weak"]) -> list[str]:
    """Return the conditions of a level that do not hold, in words; also what is out of reach."""
    strong = level == "strong"
    alpha, rank_bar, least = (
        (bars.alpha_strong, bars.rank_strong, bars.share_strong)
        if strong
        else (bars.alpha_weak, bars.rank_weak, bars.share_weak)
    )
    out = []
    if 1 / (evidence.n_flips + 1) >= alpha:
        out.append(f"{ceil(1 / alpha - 1e-6)} sign flips are needed for {level}")
    elif evidence.smallest_p >= alpha:
        out.append(f"{units_needed(alpha, evidence.n_flips)} units are needed for {level}")
    elif evidence.p >= alpha:
        out.append(f"p = {evidence.p:.2g} >= {alpha:g}")
    if evidence.n_draws < draws_needed(rank_bar):
        out.append(f"{draws_needed(rank_bar)} draws are needed for {level}")
    elif evidence.rank_p > rank_bar * (1 + 1e-9):
        out.append(f"rank p = {evidence.rank_p:.2g} > {rank_bar:g}")
    if evidence.mediated.share < least:
        out.append(f"share {evidence.mediated.share:.2f} < {least:g}")
    out += [
        f"{arm.name} has share {arm.share:.2f}, away from the donor"
        for arm in (evidence.sufficiency, evidence.necessity)
        if arm.share <= 0
    ]
    out += [
        f"control {arm.name} is not null (share {arm.share:.2f}, p = {arm.p:.2g})"
        for arm in evidence.controls
        if not is_null(arm, bars)
    ]
    return out
