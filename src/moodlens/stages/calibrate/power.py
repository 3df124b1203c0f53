"""Stage `power`: power of tests and forks on planted effects, and the rate of wrong "none" verdicts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.base.seeding import rng_for
from moodlens.calibration.fork_nulls import N_STEPS, Forked, verdicts
from moodlens.calibration.rates import Rate, detected_in_layer, none_claimed, power, rate_of
from moodlens.calibration.simulate import World
from moodlens.compute.pool import run_tasks
from moodlens.forks.verdicts import SourceVerdict
from moodlens.params.calibration import CalibrationParams, ForkPowerParams, PowerParams
from moodlens.stats.design import Unit
from moodlens.store.tables import write_plot

ALPHA = 0.05
FORK_FLIPS = 1999
"""Sign flips per experiment; p can fall below the .001 of a strong verdict."""


@dataclass(frozen=True)
class Point:
    """One thing to measure: a point of the power curves, the planted layer, or "none"."""

    kind: str  # power | in_place | none
    share: float
    n_per_emotion: int
    unit: Unit
    params: PowerParams


def run(params: CalibrationParams, home: Path) -> None:
    """Write calibration/power.csv and calibration/fork_power.csv."""
    section = params.power
    points = [
        Point("power", share, n, "prompt", section) for share in section.shares for n in section.n_per_emotion
    ]
    units: tuple[Unit, ...] = ("prompt", "wording")
    points += [Point("in_place", section.planted_share, section.planted_n, unit, section) for unit in units]
    points.append(Point("none", section.none_delta, section.none_n, "prompt", section))
    workers = params.compute.workers
    rows = run_tasks(measure, points, workers=workers, threads=1, label="power", unit="point")
    write_plot(pd.DataFrame([row for part in rows for row in part]), home / "power.csv")
    forked = [
        ForkPoint(share, n, params.fork_power)
        for share in params.fork_power.shares
        for n in params.fork_power.n_units
    ]
    rows = run_tasks(measure_forks, forked, workers=workers, threads=1, label="power of forks", unit="point")
    write_plot(pd.DataFrame([row for part in rows for row in part]), home / "fork_power.csv")


@dataclass(frozen=True)
class ForkPoint:
    """One share of memory and one number of pairs of wordings."""

    share: float
    n_units: int
    params: ForkPowerParams


VERDICTS: tuple[SourceVerdict, ...] = ("strong", "weak", "none", "undecided")


def measure_forks(point: ForkPoint) -> list[dict[str, object]]:
    """Return how often forks give each verdict on a memory of known share."""
    section = point.params
    forked = Forked((point.share,) * N_STEPS, (section.noise,) * N_STEPS, point.n_units, FORK_FLIPS)
    key = (round(1e4 * point.share), point.n_units, round(1e4 * section.noise), section.seed)
    rngs = [rng_for("calibration", "fork power", *key, sim) for sim in range(section.n_sims)]
    given = verdicts(forked, rngs)
    about = {"share": point.share, "n_units": point.n_units, "noise": section.noise}
    return [{**about, "verdict": name, **_rate(rate_of([one == name for one in given]))} for name in VERDICTS]


def measure(point: Point) -> list[dict[str, object]]:
    """Return the rows of one point."""
    return MEASURES[point.kind](point)


def _power(point: Point) -> list[dict[str, object]]:
    section = point.params
    world = World(4 * point.n_per_emotion, section.n_clips, section.icc, planted=point.share)
    return [_row(point, "found", power(world, ALPHA, _rngs(point)))]


def _in_place(point: Point) -> list[dict[str, object]]:
    section = point.params
    world = World(
        4 * point.n_per_emotion,
        section.n_clips,
        section.icc,
        shared=point.unit == "wording",
        n_layers=section.n_layers,
        layer_share=0.5,
        planted=point.share,
        planted_layer=section.n_layers // 2,
    )
    anywhere, in_place = detected_in_layer(world, point.unit, ALPHA, _rngs(point))
    return [_row(point, "found in any layer", anywhere), _row(point, "found in its layer", in_place)]


def _none(point: Point) -> list[dict[str, object]]:
    section = point.params
    world = World(
        4 * point.n_per_emotion, section.n_clips, section.icc, n_layers=section.none_layers, layer_share=0.5
    )
    wrong, claimed = none_claimed(world, point.share, ALPHA, section.wanted_power, _rngs(point))
    return [{**_row(point, "none said wrongly", wrong), "claimed_power": claimed}]


MEASURES: dict[str, Callable[[Point], list[dict[str, object]]]] = {
    "power": _power,
    "in_place": _in_place,
    "none": _none,
}


def _rngs(point: Point) -> list[np.random.Generator]:
    key = (point.kind, round(1e4 * point.share), point.n_per_emotion, point.unit, point.params.seed)
    return [rng_for("calibration", *key, sim) for sim in range(point.params.n_sims)]


def _row(point: Point, what: str, rate: Rate) -> dict[str, object]:
    return {
        "what": what,
        "share": point.share,
        "n_per_emotion": point.n_per_emotion,
        "unit": point.unit,
        **_rate(rate),
    }


def _rate(rate: Rate) -> dict[str, object]:
    return {"n_sims": rate.n, "rate": rate.value, "low": rate.low, "high": rate.high}
