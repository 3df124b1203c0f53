"""Stage `rates`: how often each test alarms on simulated data without effect."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import rng_for
from moodlens.calibration.instruments import CLAIMS, NAIVE, PLAIN, plain_accuracy, plain_p
from moodlens.calibration.rates import Alarms, alarm_rates, rate_of, verdict_on
from moodlens.calibration.simulate import World, design_for, sample
from moodlens.compute.pool import run_tasks
from moodlens.params.calibration import CalibrationParams
from moodlens.store.tables import write_plot

N_PLAIN = 100
"""Datasets that the plain probe runs on. Its fits take as long as all other tests together."""


@dataclass(frozen=True)
class Cell:
    """One design at one ICC."""

    n_prompts: int
    n_clips: int
    icc: float
    n_sims: int
    seed: int
    slow_too: bool  # the last design also runs the slow tests


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
    cells = [
        Cell(prompts, clips, icc, section.n_sims, section.seed, number == len(section.designs))
        for number, (prompts, clips) in enumerate(section.designs, start=1)
        for icc in section.icc
    ]
    workers = params.compute.workers
    results = run_tasks(measure, cells, workers=workers, threads=1, label="error rates", unit="cell")
    write_plot(pd.DataFrame([row for rows, _ in results for row in rows]), home / "rates.csv")
    write_plot(pd.DataFrame([row for _, row in results]), home / "plain_probe.csv")


def measure(cell: Cell) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Return a row per test, and the plain probe's mean accuracy."""
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
    rate = rate_of([plain_p(accuracy, n_clips, chance) <= PLAIN.level for accuracy in read])
    rows.append(row_of(Alarms(PLAIN, base, rate, *verdict_on(rate, PLAIN))))
    plain = {"icc": cell.icc, "n_clips": n_clips, "n_prompts": cell.n_prompts, "n_sims": len(read)}
    return rows, {**plain, "accuracy": sum(read) / len(read), "chance": chance}


def row_of(alarms: Alarms) -> dict[str, object]:
    """Return one row of calibration/rates.csv."""
    world, rate = alarms.world, alarms.rate
    return {
        "test": alarms.instrument.name,
        "group": alarms.instrument.group,
        "carries_claim": alarms.instrument.carries_claim,
        "icc": world.icc,
        "n_prompts": world.n_prompts,
        "n_clips": world.n_prompts * world.n_clips,
        "level": alarms.instrument.level,
        "n_sims": rate.n,
        "rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "verdict": alarms.verdict,
        "reason": alarms.reason,
    }
