"""The verdict on each source, and where the memory lies.

strong    at one fork step at least the contrast exceeds that of same-emotion donors with adjusted p below
          `alpha_strong`, and the share there is at least `share_strong`
weak      likewise with `alpha_weak` and `share_weak`
none      no fork step is significant at `alpha_weak`, and at every step the share lies inside the margin (two
          one-sided tests at `alpha_weak`; each step must pass, so their number needs no correction)
undecided anything else
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from moodlens.forks.shares import Contrasts, Series, Share, Total, family_p, shares_of

SourceVerdict = Literal["strong", "weak", "none", "undecided"]


@dataclass(frozen=True)
class Bars:
    """Thresholds of the verdicts."""

    alpha_strong: float
    alpha_weak: float
    share_strong: float
    share_weak: float
    margin: float  # equivalence: a share within +- margin counts as none


@dataclass(frozen=True)
class Source:
    """The verdict on one source."""

    name: str
    verdict: SourceVerdict
    step: int  # fork step that decides: the largest share that passes, else the one that reaches furthest
    share: Share  # at that step
    mean: Share  # averaged over the steps
    rule: str  # why, in words


def judge_source(series: Series, total: Total, bars: Bars) -> Source:
    """Return the verdict on a source from its shares over the fork steps."""
    name, shares, mean = series.source, series.shares, series.mean
    bounds: tuple[tuple[SourceVerdict, float, float], ...] = (
        ("strong", bars.alpha_strong, bars.share_strong),
        ("weak", bars.alpha_weak, bars.share_weak),
    )
    for verdict, alpha, least in bounds:
        passed = [index for index, one in enumerate(shares) if one.p < alpha and one.share >= least]
        if passed:
            best = max(passed, key=lambda index: shares[index].share)
            rule = f"p = {shares[best].p:.2g} < {alpha:g} and share {shares[best].share:.2f} >= {least:g}"
            return Source(name, verdict, series.steps[best], shares[best], mean, rule)
    at = max(range(len(shares)), key=lambda index: _reach(shares[index]))
    widest = shares[at]
    inside = _reach(widest) < bars.margin
    silent = all(one.p >= bars.alpha_weak for one in shares)
    verdict = "none" if inside and silent else "undecided"
    reach = f"the widest interval of a share is {widest.narrow_low:.2f} to {widest.narrow_high:.2f}"
    within = f"{'' if inside else 'not '}within +-{bars.margin:g}"
    rule = f"{'no' if silent else 'a'} step is significant, and {reach}, {within}"
    if total.of_judge:
        rule += " of the judge's own gap, because the prompts move the judge too little"
    return Source(name, verdict, series.steps[at], widest, mean, rule)


def _reach(share: Share) -> float:
    """Return how far from 0 the interval of the equivalence tests reaches."""
    return max(abs(share.narrow_low), abs(share.narrow_high))


@dataclass(frozen=True)
class Where:
    """The exchange of one layer or one window of the cache."""

    names: tuple[str, ...]  # e.g. "layer 0", "steps 0-10"
    shares: tuple[Share, ...]  # p adjusted over all names
    found: tuple[str, ...]  # of each half of the units, the name with the largest |t| there
    confirmed_p: float  # the larger p of the two found names, each tested on the other half


def where(
    family: Mapping[str, Contrasts], bars: Bars, confidence: float, n_flips: int, rng: np.random.Generator
) -> Where:
    """Return the share of every layer and window, and whether the best holds on units not used to find it.

    Units are dealt to two halves at random. The name that is best in one half is tested in the other, and the
    other way round; the larger p counts.
    """
    names = tuple(family)
    values = [family[name].values for name in names]
    shares = shares_of([family[name] for name in names], confidence, bars.alpha_weak, n_flips, rng)
    order = rng.permutation(len(values[0]))
    halves = (order[: len(order) // 2], order[len(order) // 2 :])
    found, p_values = [], []
    for discovery, test in (halves, halves[::-1]):
        best = int(np.argmax([_t(one[discovery]) for one in values]))
        found.append(names[best])
        p_values.append(float(family_p([values[best][test]], n_flips, rng)[0]))
    return Where(names, tuple(shares), tuple(found), max(p_values))


def _t(values: Float[np.ndarray, " unit"]) -> float:
    spread = values.std(ddof=1)
    return float(values.mean() / spread * np.sqrt(len(values))) if spread > 0 else 0.0
