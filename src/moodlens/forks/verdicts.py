"""The verdict on each source, and where the memory lies.

strong    at one fork step at least the contrast exceeds that of same-emotion donors with adjusted p below
          `alpha_strong`, and the share there is at least `share_strong`
weak      likewise with `alpha_weak` and `share_weak`
none      at every fork step the share lies inside the margin (two one-sided tests at `alpha_weak`), and the
          prompts moved the judge, or are known not to move it by a judge with a gap of its own
undecided anything else
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from moodlens.forks.shares import Contrasts, Share, Total, family_p, shares_of

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
    step: int  # fork step with the largest share among those with the smallest p
    share: Share  # at that step
    rule: str  # why, in words


def judge_source(
    name: str, steps: Sequence[int], shares: Sequence[Share], total: Total, bars: Bars
) -> Source:
    """Return the verdict on a source from its shares at every fork step."""
    for verdict, alpha, least in (
        ("strong", bars.alpha_strong, bars.share_strong),
        ("weak", bars.alpha_weak, bars.share_weak),
    ):
        passed = [index for index, one in enumerate(shares) if one.p < alpha and one.share >= least]
        if passed:
            best = max(passed, key=lambda index: shares[index].share)
            rule = f"p = {shares[best].p:.2g} < {alpha:g} and share {shares[best].share:.2f} >= {least:g}"
            return Source(name, verdict, steps[best], shares[best], rule)  # pyright: ignore[reportArgumentType]
    widest = max(range(len(shares)), key=lambda index: _reach(shares[index]))
    reach, one = _reach(shares[widest]), shares[widest]
    inside = f"{one.narrow_low:.2f} to {one.narrow_high:.2f}"
    if reach < bars.margin:
        rule = f"every share lies within +-{bars.margin:g} (widest: {inside})"
        return Source(name, "none", steps[widest], one, rule)
    rule = (
        f"not significant with a share of {bars.share_weak:g}, and {inside} is not within +-{bars.margin:g}"
    )
    if total.of_judge:
        rule += "; the prompts did not move the judge"
    return Source(name, "undecided", steps[widest], one, rule)


def _reach(share: Share) -> float:
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
