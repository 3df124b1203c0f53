"""A null that broke the first edition of the instrument: a named world without effect, and its tests.

Nothing holds in such a world that its tests may claim. The tests that carry a claim are those of the
pipeline, with the units, blocks, strata and baselines that it gives them. Beside them stand tests that the
instrument does not use: they show what the null breaks, and carry no claim.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moodlens.calibration.rates import Alarms, alarms_of
from moodlens.calibration.simulate import Promise, World

Simulate = Callable[[np.random.Generator], Mapping[str, bool]]
"""Draws one dataset and returns, test by test, whether it alarms."""


@dataclass(frozen=True)
class Null:
    """One world without effect."""

    name: str
    world: World  # number of prompts and clips, and the ICC
    simulate: Simulate
    tests: Mapping[str, Promise]  # name -> what the test promises
    cheap: bool = False  # takes milliseconds: many datasets, for small levels


def promised(level: float = 0.05, why_conservative: str = "") -> Promise:
    """Return the promise of a test of the pipeline under a null."""
    return Promise(level=level, why_conservative=why_conservative, group="nulls")


BROKEN = Promise(carries_claim=False, group="nulls")
"""Of a test that the instrument does not use."""


def null_alarms(null: Null, rngs: Sequence[np.random.Generator]) -> list[Alarms]:
    """Return the error rate of every test of a null over datasets of one generator each."""
    seen = [null.simulate(rng) for rng in rngs]
    return [
        alarms_of(f"{null.name}: {test}", promise, null.world, [alarms[test] for alarms in seen])
        for test, promise in null.tests.items()
    ]
