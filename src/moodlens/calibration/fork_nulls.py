"""Forks on simulated continuations whose truth is known: false alarms, "none" at its margin, power.

Every slot and seed of a pair of wordings has a continuation per side. The log-odds of a side are the emotion
that a source carries there, as a share of what the whole prompt carries, plus noise of the pair of wordings
and of the clip. Noise has heavy tails (Student's t with 5 degrees of freedom).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moodlens.calibration.nulls import Null, promised
from moodlens.calibration.simulate import World
from moodlens.forks.cells import ALL, DONOR, ONE, OTHER, SIDES
from moodlens.forks.shares import Series, Total, contrasts_of, mean_of, shares_of, total_of
from moodlens.forks.verdicts import Bars, Source, judge_source

BARS = Bars(alpha_strong=0.001, alpha_weak=0.05, share_strong=0.25, share_weak=0.1, margin=0.1)
CONFIDENCE = 0.95
"""As `decide` and `forks` in params.yaml; a test holds them equal. Fewer flips change no error rate."""
N_FLIPS = 4999
GAPS = {"energetic - calm": 20.0, "happy - sad": 10.0}
"""The judge's own gap of each pair of emotions, in nats."""
TOTAL, TOTAL_NOISE = 0.7, 0.3
"""What whole clips differ by, as a share of the gap, and its standard deviation over pairs of wordings."""
N_UNITS, N_CLIPS, N_STEPS = 18, 2, 3
"""Pairs of wordings, clips of each, and fork steps: those of the default run."""
NOISE = (0.49, 0.17, 0.16)
"""Standard deviation of a contrast over pairs of wordings at each step, as a share of the total: that of the
memory in the published run (docs/published/forks_shares.csv)."""
STEADY = (0.12, 0.12, 0.12)
"""Noise at which 18 pairs of wordings are enough for "none"."""
CLIP_NOISE = 0.3
"""Share of the variance of a contrast that is the clips', not the wordings'."""
HEAVY = 5
SOURCE = "memory"


@dataclass(frozen=True)
class Forked:
    """A fork experiment to simulate."""

    shares: tuple[float, ...]  # what the source carries at each step, of the total
    noise: tuple[float, ...]  # at each step
    n_units: int = N_UNITS
    n_flips: int = N_FLIPS


def experiment(forked: Forked, rng: np.random.Generator) -> tuple[Series, Total, Source]:
    """Return the analysis of one simulated experiment, by the functions of `forks.analysis`."""
    cells = continuations(forked, rng)
    whole = pd.DataFrame(cells[cells["source"] == ALL])
    total = total_of(whole, GAPS, BARS.alpha_weak, forked.n_flips, rng)
    steps = range(len(forked.shares))
    own = cells[cells["source"] == SOURCE]
    family = [contrasts_of(pd.DataFrame(own[own["step"] == step]), total) for step in steps]
    found = shares_of([*family, mean_of(family)], CONFIDENCE, BARS.alpha_weak, forked.n_flips, rng)
    series = Series(SOURCE, tuple(steps), tuple(found[:-1]), found[-1], tuple(0.0 for _ in steps))
    return series, total, judge_source(series, total, BARS)


def continuations(forked: Forked, rng: np.random.Generator) -> pd.DataFrame:
    """Return judged continuations: columns pair, unit, source, side, step, log_odds."""
    pairs = np.array(list(GAPS))[np.arange(forked.n_units) % len(GAPS)]
    scale = TOTAL * np.array([GAPS[pair] for pair in pairs])
    units = [f"wordings {i}" for i in range(forked.n_units)]
    parts = [_sides(ALL, 0, 1.0, TOTAL_NOISE, scale, rng)]
    parts += [
        _sides(SOURCE, step, share, noise, scale, rng)
        for step, (share, noise) in enumerate(zip(forked.shares, forked.noise, strict=True))
    ]
    index = np.repeat(np.arange(forked.n_units), N_CLIPS)
    about = {"pair": pairs[index], "unit": np.array(units)[index]}
    return pd.concat([pd.DataFrame({**about, **part}) for sides in parts for part in sides])


def _sides(
    source: str, step: int, share: float, noise: float, scale: np.ndarray, rng: np.random.Generator
) -> list[dict[str, object]]:
    """Return the columns of every side of a source at a step; side one and donor are of one emotion."""
    n, sd = len(scale), noise / np.sqrt(2)  # a contrast is the difference of two sides
    carried = {ONE: share / 2, OTHER: -share / 2, DONOR: share / 2}
    out: list[dict[str, object]] = []
    for side in SIDES:
        wording = np.sqrt(1 - CLIP_NOISE) * sd * _heavy((n, 1), rng)
        clip = np.sqrt(CLIP_NOISE * N_CLIPS) * sd * _heavy((n, N_CLIPS), rng)
        odds = scale[:, None] * (carried[side] + wording + clip)
        out.append({"source": source, "side": side, "step": step, "log_odds": odds.ravel()})
    return out


def _heavy(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return noise of variance 1 with heavy tails."""
    return rng.standard_t(HEAVY, shape) * np.sqrt((HEAVY - 2) / HEAVY)


STEP_05, STEP_001 = "p of a fork step below .05", "p of a fork step below .001"
CLAIMED, NONE = "memory claimed, strong or weak", "verdict none"


def no_memory(rng: np.random.Generator) -> Mapping[str, bool]:
    """Return the alarms of an experiment in which cached states carry nothing."""
    series, _, source = experiment(Forked((0.0,) * N_STEPS, NOISE), rng)
    least = min(share.p for share in series.shares)
    return {
        STEP_05: least < BARS.alpha_weak,
        STEP_001: least < BARS.alpha_strong,
        CLAIMED: source.verdict in ("strong", "weak"),
    }


def at_the_margin(sign: int) -> Callable[[np.random.Generator], Mapping[str, bool]]:
    """Return the alarms where memory carries just the margin at one step: `none` is wrong there."""
    forked = Forked((sign * BARS.margin, 0.0, 0.0), STEADY)
    return lambda rng: {NONE: experiment(forked, rng)[2].verdict == "none"}


def verdicts(forked: Forked, rngs: Sequence[np.random.Generator]) -> list[str]:
    """Return the verdict on the source in every simulated experiment."""
    return [experiment(forked, rng)[2].verdict for rng in rngs]


WORLD = World(N_UNITS, N_CLIPS, CLIP_NOISE)
"""What the table of rates says of these worlds: pairs of wordings in the place of prompts."""
BOTH_NEEDED = "the share must also reach its bar"
EVERY_STEP = "every step must lie inside the margin"
NULLS = (
    Null(
        "forks without memory",
        WORLD,
        no_memory,
        {STEP_05: promised(), STEP_001: promised(0.001), CLAIMED: promised(0.05, BOTH_NEEDED)},
        cheap=True,
    ),
    *(
        Null(
            f"forks with memory of {sign}{BARS.margin:g} at one step",
            WORLD,
            at_the_margin(number),
            {NONE: promised(0.05, EVERY_STEP)},
            cheap=True,
        )
        for sign, number in (("+", 1), ("-", -1))
    ),
)
