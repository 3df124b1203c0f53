"""Stage `rates`: how often each test alarms on simulated data without effect."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import rng_for
from moodlens.calibration import design_nulls, fork_nulls, reader_nulls
from moodlens.calibration.instruments import CLAIMS, NAIVE, PLAIN, plain_accuracy, plain_p
from moodlens.calibration.nulls import null_alarms
from moodlens.calibration.rates import Alarms, alarm_rates, alarms_of
from moodlens.calibration.simulate import World, design_for, sample
from moodlens.compute.pool import run_tasks
from moodlens.params.calibration import CalibrationParams
from moodlens.store.tables import write_plot

NULLS = (*reader_nulls.NULLS, *design_nulls.NULLS, *fork_nulls.NULLS)
"""The nulls that broke the first edition of the instrument, the slowest first."""
N_PLAIN = 100
"""Datasets that the plain probe runs on. Its fits take as long as all other tests together."""


@dataclass(frozen=True)
class Cell:
    """One design at one ICC, without effect."""

    n_prompts: int
    n_clips: int
    icc: float
    n_sims: int
    seed: int
    slow_too: bool  # the last design also runs the slow tests


@dataclass(frozen=True)
class NullCell:
    """Some datasets of one of `NULLS`."""

    number: int  # in NULLS
    n_sims: int
    seed: int


Rows = list[dict[str, object]]


def run(params: CalibrationParams, home: Path) -> None:
    """Write calibration/rates.csv and calibration/plain_probe.csv."""
    section = params.rates
    for design in section.designs:
        if len(design) != 2 or design[0] < 16 or design[1] < 2:
            rule = "be [prompts, clips of each], at least [16, 2]"
            raise UsageError(
                must(
                    "rates.designs",
                    rule,
                    list(design),
                    where="calibration/params.yaml",
                    next_step="Correct it",
                )
            )
    cells: list[Cell | NullCell] = [
        Cell(prompts, clips, icc, section.n_sims, section.seed, number == len(section.designs))
        for number, (prompts, clips) in enumerate(section.designs, start=1)
        for icc in section.icc
    ]
    cells += [
        NullCell(number, section.n_cheap_sims if null.cheap else section.n_null_sims, section.seed)
        for number, null in enumerate(NULLS)
    ]
    workers = params.compute.workers
    results = run_tasks(measure, cells, workers=workers, threads=1, label="error rates", unit="cell")
    write_plot(pd.DataFrame([row for rows, _ in results for row in rows]), home / "rates.csv")
    plain = [row for _, rows in results for row in rows]
    write_plot(pd.DataFrame(plain), home / "plain_probe.csv")


def measure(cell: Cell | NullCell) -> tuple[Rows, Rows]:
    """Return a row per test, and a row of the plain probe's mean accuracy if the cell has one."""
    return _measure_null(cell) if isinstance(cell, NullCell) else _measure_design(cell)


def _measure_null(cell: NullCell) -> tuple[Rows, Rows]:
    null = NULLS[cell.number]
    rngs = [rng_for("calibration", null.name, cell.seed, sim) for sim in range(cell.n_sims)]
    return [row_of(alarms) for alarms in null_alarms(null, rngs)], []


def _measure_design(cell: Cell) -> tuple[Rows, Rows]:
    key = (cell.n_prompts, cell.n_clips, round(1000 * cell.icc), cell.seed)
    rngs = [rng_for("calibration", "rates", *key, sim) for sim in range(cell.n_sims)]
    base = World(cell.n_prompts, cell.n_clips, cell.icc)
    tests = [test for test in (*CLAIMS, *NAIVE) if cell.slow_too or not test.slow]
    rows = [row_of(alarms) for alarms in alarm_rates(tests, base, cell.n_sims, rngs)]
    n_plain = min(N_PLAIN, cell.n_sims)
    design, n_clips = design_for(base), cell.n_prompts * cell.n_clips
    rngs = [rng_for("calibration", "plain", *key, sim) for sim in range(n_plain)]
    read = [plain_accuracy(sample(base, design, rng), rng) for rng in rngs]
    chance = 1 / base.n_classes
    alarms = [plain_p(accuracy, n_clips, chance) <= PLAIN.level for accuracy in read]
    rows.append(row_of(alarms_of(PLAIN.name, PLAIN, base, alarms)))
    plain = {"icc": cell.icc, "n_clips": n_clips, "n_prompts": cell.n_prompts, "n_sims": len(read)}
    return rows, [{**plain, "accuracy": sum(read) / len(read), "chance": chance}]


def row_of(alarms: Alarms) -> dict[str, object]:
    """Return one row of calibration/rates.csv."""
    promise, rate = alarms.promise, alarms.rate
    return {
        "test": alarms.name,
        "group": promise.group,
        "carries_claim": promise.carries_claim,
        "icc": alarms.icc,
        "n_prompts": alarms.n_prompts,
        "n_clips": alarms.n_clips,
        "level": promise.level,
        "n_sims": rate.n,
        "rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "verdict": alarms.verdict,
        "reason": alarms.reason,
    }
