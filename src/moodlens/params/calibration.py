"""The typed form of calibration/params.yaml, one frozen dataclass per section."""

import typing
from dataclasses import dataclass, field, fields

from moodlens.params.schema import mapping_of, same_keys, section_of

TWINS = ("organism", "organism-shuffled", "organism-random")


@dataclass(frozen=True)
class RatesParams:
    designs: tuple[tuple[int, ...], ...]
    icc: tuple[float, ...]
    n_sims: int = field(metadata={"low": 20})
    seed: int


@dataclass(frozen=True)
class PowerParams:
    shares: tuple[float, ...]
    n_per_emotion: tuple[int, ...]
    icc: float = field(metadata={"low": 0, "high": 1})
    n_clips: int = field(metadata={"low": 1})
    n_layers: int = field(metadata={"low": 2})
    planted_share: float = field(metadata={"low": 0.001, "high": 0.5})
    planted_n: int = field(metadata={"low": 4})
    none_delta: float = field(metadata={"low": 0.001, "high": 0.5})
    none_n: int = field(metadata={"low": 4})
    none_layers: int = field(metadata={"low": 1})
    wanted_power: float = field(metadata={"low": 0.5, "high": 1})
    n_sims: int = field(metadata={"low": 20})
    seed: int


@dataclass(frozen=True)
class VerdictsParams:
    models: tuple[str, ...] = field(metadata={"allowed": TWINS})
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class ComputeParams:
    workers: int = field(metadata={"low": 1})


@dataclass(frozen=True)
class CalibrationParams:
    rates: RatesParams
    power: PowerParams
    verdicts: VerdictsParams
    compute: ComputeParams


def parse_calibration(raw: object) -> CalibrationParams:
    """Return the typed parameters of a parsed calibration/params.yaml.

    Raises:
        UsageError: a section or key is unknown or missing, a value has the wrong type or is out of bounds.
    """
    sections = mapping_of(raw, "calibration/params.yaml")
    same_keys(sections, [f.name for f in fields(CalibrationParams)], "section")
    hints = typing.get_type_hints(CalibrationParams)
    return CalibrationParams(**{name: section_of(hints[name], sections[name], name) for name in hints})
