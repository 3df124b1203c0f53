"""Simulated clips for the calibration, and the record of a test under calibration (`Instrument`).

Row of a clip at a layer = emotion + sqrt(icc) prompt + sqrt(1 - icc) noise. Each part is Gaussian with
variance spectrum 1/rank. Prompts of one wording have a share of the prompt part in common; all layers have a
share of every part in common. Emotion explains the planted share of the variance between clips, in one layer
or in all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.axes import EMOTIONS
from moodlens.stats.design import Design, Unit, design_of
from moodlens.stats.gram import SiteGram, centred, group_means, mean_weights, site_gram
from moodlens.stats.location import located

SINGLE = 2
"""Wordings per emotion that only one prompt uses, where the others are shared; as in the default prompts."""


@dataclass(frozen=True)
class World:
    """Parameters of simulated data; shares are of variance, 0..1."""

    n_prompts: int  # spread over the emotions as evenly as they go
    n_clips: int  # per prompt
    icc: float  # share that clips of one prompt have in common
    shared: bool = False  # prompts of an emotion share wordings, two by two
    wording_share: float = 0.5  # of the prompt's part, common to the prompts of a wording
    n_layers: int = 1
    layer_share: float = 0.0  # of every part, common to all layers
    planted: float = 0.0  # share of the variance between clips that emotion holds in `planted_layer`
    planted_layer: int | None = 0  # None: in every layer
    n_classes: int = 4
    width: int = 64  # dimensions; with the spectrum 1/rank about 14 count


@dataclass(frozen=True)
class Sample:
    """One simulated dataset."""

    design: Design
    rows: Float[np.ndarray, "layer clip dim"]
    prompts: Int[np.ndarray, " clip"]  # index of each clip's prompt
    read: dict[str, Any] = field(default_factory=dict)  # results that several tests of this dataset share

    @cached_property
    def grams(self) -> Float[np.ndarray, "layer prompt prompt"]:
        """Centred Gram matrices of prompt means at mean diagonal 1, as `stats.gram.prompt_grams`."""
        n = self.design.n_prompts
        means = self.prompt_rows - self.prompt_rows.mean(axis=1, keepdims=True)
        grams = means @ means.transpose(0, 2, 1)
        return grams / np.trace(grams, axis1=1, axis2=2)[:, None, None] * n

    @property
    def of_clip(self) -> Int[np.ndarray, " clip"]:
        """Return the wording of each clip."""
        return self.design.wordings[self.prompts]

    @cached_property
    def prompt_rows(self) -> Float[np.ndarray, "layer prompt dim"]:
        """Return the prompts' means."""
        n = self.design.n_prompts
        return self.rows.reshape(len(self.rows), n, -1, self.rows.shape[2]).mean(axis=2, dtype=np.float64)

    @cached_property
    def unit_rows(self) -> Float[np.ndarray, "layer wording dim"]:
        """Return the wordings' means."""
        return mean_weights(self.design.wordings) @ self.prompt_rows

    @cached_property
    def unit_grams(self) -> Float[np.ndarray, "layer wording wording"]:
        """Return the centred Gram matrices of the wordings' means, mean diagonal 1."""
        grams = centred(group_means(self.grams, self.design.wordings))
        return grams / np.trace(grams, axis1=1, axis2=2)[:, None, None] * grams.shape[1]

    def site(self, layer: int) -> SiteGram:
        """Return one layer in the form of the pipeline."""
        return site_gram(f"residual.{layer}", self.rows[layer], self.prompts)


def design_for(world: World) -> Design:
    """Return the prompts and wordings of a world.

    >>> design_for(World(20, 4, 0.3, shared=True)).wordings.tolist()[:5]
    [0, 1, 2, 2, 3]
    """
    counts = [len(part) for part in np.array_split(np.arange(world.n_prompts), world.n_classes)]
    rows = [
        (emotion, i, i if not world.shared or i < SINGLE else SINGLE + (i - SINGLE) // 2)
        for emotion, n in zip(EMOTIONS, counts, strict=False)
        for i in range(n)
    ]
    return design_of(
        [f"{emotion}-{i}" for emotion, i, _ in rows],
        [emotion for emotion, _, _ in rows],
        [f"{emotion} {wording}" for emotion, _, wording in rows],
    )


def sample(world: World, design: Design, rng: np.random.Generator) -> Sample:
    """Return a dataset of `world`; `design` is `design_for(world)`, made once for many datasets."""
    prompts = np.repeat(np.arange(design.n_prompts), world.n_clips)
    scale = (np.arange(1, world.width + 1) ** -0.5).astype(np.float32)
    prompt = _layered(world, design.n_prompts, rng)
    if world.shared:
        wording = _layered(world, int(design.wordings.max()) + 1, rng)[:, design.wordings]
        prompt *= np.float32(np.sqrt(1 - world.wording_share))
        prompt += np.float32(np.sqrt(world.wording_share)) * wording
    rows = _layered(world, len(prompts), rng)
    rows *= np.float32(np.sqrt(1 - world.icc))
    rows += np.float32(np.sqrt(world.icc)) * prompt[:, prompts]
    rows *= scale
    if world.planted:
        where = slice(None) if world.planted_layer is None else world.planted_layer
        rows[where] += _planted(world, design, scale, rng)[prompts]
    return Sample(design, rows, prompts)


def _layered(world: World, n: int, rng: np.random.Generator) -> np.ndarray:
    own = rng.standard_normal((world.n_layers, n, world.width), dtype=np.float32)
    if world.layer_share:
        own *= np.float32(np.sqrt(1 - world.layer_share))
        own += np.float32(np.sqrt(world.layer_share)) * rng.standard_normal((n, world.width), np.float32)
    return own


def _planted(world: World, design: Design, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each prompt's emotion mean, of `planted` / (1 - planted) times the expected other variance."""
    means = rng.standard_normal((world.n_classes, world.width), dtype=np.float32) * scale
    effect = means[design.labels]
    effect -= effect.mean(axis=0)
    wanted = world.planted / (1 - world.planted) * (scale**2).sum()
    return effect * np.sqrt(wanted / (effect**2).sum(axis=1).mean())


N_PERMUTATIONS = 199
"""Relabellings per test. p is exact at .05 for any number n with (n + 1) / 20 whole; more relabellings change
the power by less than 2 points, and no error rate."""
N_LAYERS = 12
"""Layers of the data; a test takes them for sites, for steps x layers or for windows x layers."""

CAUTIOUS = "the correction for training data that folds share is cautious"

Group = Literal["ladder", "nulls", "state", "metrics", "chapters"]
"""Part of the page that shows the p of a test; each has a figure of its own."""

Test = Callable[[Sample, np.random.Generator], float]


@dataclass(frozen=True)
class Setting:
    """The kind of data that a test is run on."""

    shared: bool  # prompts share wordings
    n_layers: int
    layer_share: float = 0.5  # share of every part that all layers have in common
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


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a test under calibration promises: to alarm in at most `level` of datasets without effect."""

    carries_claim: bool = True
    level: float = 0.05
    why_conservative: str = ""
    group: Group = "ladder"


@dataclass(frozen=True)
class Instrument(Promise):
    """One test; `p` is at most `level` exactly when the pipeline would report an effect."""

    name: str
    setting: Setting
    p: Test
    slow: bool = False  # run in one design only, so that all tests together take minutes


UNIQUE, SHARED = Setting(False, 48), Setting(True, 48)
UNIQUE_APART, SHARED_APART = Setting(False, 48, 0.0), Setting(True, 48, 0.0)
PLACES = Setting(True, N_LAYERS)
"""Layers that resemble each other and hold no emotion."""
PLACES_APART = Setting(True, N_LAYERS, 0.0)
"""Layers that have nothing in common: states beside a sound or a target that is unrelated to them."""


def f_table(data: Sample, unit: Unit, n_layers: int, rng: np.random.Generator) -> np.ndarray:
    """Return pseudo-F or W_d* of the first layers, (layer, perm), chosen as in `stats.sweep`."""
    units = centred(group_means(data.grams[:n_layers], data.design.members(unit)))
    return located(units, data.design.relabellings(unit, N_PERMUTATIONS, rng))
