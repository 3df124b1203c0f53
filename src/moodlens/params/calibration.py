"""The typed form of calibration/params.yaml: one frozen dataclass per section."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Interval

from moodlens.params.quantities import (
    Count,
    Listed,
    Names,
    OneOf,
    Permutations,
    Power,
    Processes,
    Resamples,
    Seed,
    Share,
    Simulations,
    SmallShare,
)
from moodlens.params.schema import read_section

FILE = "calibration/params.yaml"
FEWEST_UNITS = 6
"""Pairs of wordings below which forks do not apply (`stats.sign_flip.FEWEST_UNITS`)."""
TWINS = (
    "organism",
    "organism-memory",
    "organism-memory-cut",
    "organism-reader",
    "organism-shuffled",
    "organism-music-only",
    "organism-random",
    *(f"organism-{kind}-small-{seed}" for kind in ("memory", "reader") for seed in (1, 2, 3)),
)


@dataclass(frozen=True)
class RatesParams:
    designs: Listed[Listed[Count]]
    icc: Names[Share]
    n_sims: Simulations
    n_null_sims: Simulations
    n_cheap_sims: Simulations
    seed: Seed


@dataclass(frozen=True)
class PowerParams:
    shares: Names[Share]
    n_per_emotion: Names[Count]
    icc: Share
    n_clips: Count
    n_layers: Annotated[Count, Ge(2)]
    planted_share: SmallShare
    planted_n: Annotated[Count, Ge(4)]
    none_delta: SmallShare
    none_n: Annotated[Count, Ge(4)]
    none_layers: Count
    wanted_power: Power
    n_sims: Simulations
    seed: Seed


@dataclass(frozen=True)
class ForkPowerParams:
    shares: Names[Share]
    n_units: Names[Annotated[Count, Ge(FEWEST_UNITS)]]
    noise: Annotated[float, Interval(ge=0.01, le=2)]
    n_sims: Simulations
    seed: Seed


Twin = Annotated[str, OneOf(TWINS)]
GRAMMAR_SETS = ("generic", "descriptive", "scenes")


@dataclass(frozen=True)
class VerdictsParams:
    models: Names[Twin]
    sets: Listed[Names[Annotated[str, OneOf(GRAMMAR_SETS)]]]
    seeds: Names[Seed]
    finding_models: tuple[Twin, ...]
    finding_seeds: tuple[Seed, ...]
    where_models: tuple[Twin, ...]
    memory_models: tuple[Twin, ...]
    use_models: tuple[Twin, ...]
    n_per_emotion: Annotated[Count, Ge(4)]
    n_clips: Count
    n_fork_clips: Count
    fork_step_s: Annotated[float, Interval(ge=0.1, le=3.0)]
    n_permutations: Permutations
    n_bootstrap: Resamples


@dataclass(frozen=True)
class ComputeParams:
    workers: Processes


@dataclass(frozen=True)
class CalibrationParams:
    rates: RatesParams
    power: PowerParams
    fork_power: ForkPowerParams
    verdicts: VerdictsParams
    compute: ComputeParams


def parse_calibration(raw: object) -> CalibrationParams:
    """Return the typed parameters of a parsed calibration/params.yaml.

    Raises:
        UsageError: a section or key is unknown or missing, a value has the wrong type or is out of bounds.
    """
    return read_section(CalibrationParams, raw, "", FILE)
