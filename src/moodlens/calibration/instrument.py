"""What a test under calibration is: its name, the kind of data it is asked about, its p on one dataset."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from moodlens.calibration.simulate import Sample, World
from moodlens.stats.design import Unit
from moodlens.stats.gram import centred, group_means
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import relabellings

N_PERMUTATIONS = 199
"""Relabellings per test. p is exact at .05 for any number n with (n + 1) / 20 whole; more relabellings change
the power by under 2 points, and no error rate."""
N_LAYERS = 12
"""Layers of the data that tests of single places read, or steps x layers, or windows x layers."""

CAUTIOUS = "the correction for training data that folds share is cautious"

Group = Literal["ladder", "state", "metrics", "chapters"]
"""Part of the page whose p it is; each has a figure of its own."""

Test = Callable[[Sample, np.random.Generator], float]


@dataclass(frozen=True)
class Setting:
    """The kind of data a test is asked about."""

    shared: bool  # prompts share wordings
    n_layers: int
    layer_share: float = 0.5  # what layers have in common
    everywhere: float = 0.0  # share of variance that emotion holds in every layer: all equally good

    def of(self, base: World) -> World:
        """Return `base` with these wordings and layers."""
        return replace(
            base,
            shared=self.shared,
            n_layers=self.n_layers,
            layer_share=self.layer_share if self.n_layers > 1 else 0.0,
            planted=self.everywhere,
            planted_layer=None,
        )


@dataclass(frozen=True)
class Instrument:
    """One test; `p` is at most `level` exactly when the pipeline would say "found"."""

    name: str
    setting: Setting
    p: Test
    carries_claim: bool = True
    level: float = 0.05
    why_conservative: str = ""
    group: Group = "ladder"
    slow: bool = False  # asked in one design only, so that all tests together stay a matter of minutes


UNIQUE, SHARED = Setting(False, 48), Setting(True, 48)
UNIQUE_APART, SHARED_APART = Setting(False, 48, 0.0), Setting(True, 48, 0.0)
PLACES = Setting(True, N_LAYERS)
"""Layers that resemble each other and hold no emotion."""
PLACES_APART = Setting(True, N_LAYERS, 0.0)
"""Layers that have nothing in common: states beside a sound, or a target, that they do not tell."""


def f_table(data: Sample, unit: Unit, n_layers: int, rng: np.random.Generator) -> np.ndarray:
    """Return pseudo-F of the first layers, (layer, perm), whole units relabelled as `stats.sweep` does."""
    units = centred(group_means(data.grams[:n_layers], data.design.members(unit)))
    return pseudo_f(units, relabellings(data.design.unit_labels(unit), N_PERMUTATIONS, rng))
