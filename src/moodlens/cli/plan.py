"""`moodlens plan`: forecast of time, memory and disk from a model's configuration and the parameters.

moodlens plan                                   for the model of params.yaml
moodlens plan --model facebook/musicgen-large   for another model; a published model need not be downloaded
moodlens plan --stage generate                  also print every term of a stage's memory and disk
"""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moodlens.base.errors import UsageError, must, nearest
from moodlens.base.units import beyond_training
from moodlens.forecast.generation import Cost
from moodlens.params.pipeline import Params

DTYPES = ("float32", "bfloat16", "float16")


def add_command(subparsers: Any) -> None:
    """Add `plan`, which `run` executes."""
    plan = subparsers.add_parser("plan", help="forecast time, memory and disk of every stage")
    plan.add_argument("--model", default="", help="an id from `moodlens models list`, or a folder")
    plan.add_argument(
        "--stage",
        action="append",
        default=[],
        help="also print the terms of a stage; `all` for every stage",
    )
    plan.add_argument("--dtype", default="", choices=DTYPES, help="dtype of the weights")


def run(chosen: argparse.Namespace, root: Path, params: Params) -> str:
    """Return the forecast of every stage, the terms of the requested stages, and whether all stages fit.

    Raises:
        UsageError: the model or a stage is unknown.
    """
    from moodlens.backends.trained_length import trained_s
    from moodlens.forecast import machine, plan

    model = params.model
    if chosen.model:
        model = replace(model, id=chosen.model, revision="")
    if chosen.dtype:
        model = replace(model, dtype=chosen.dtype)
    params = replace(params, model=model)
    costs = plan.costs_of(params, root)
    known = [*(cost.stage for cost in costs), "all"]
    for stage in chosen.stage:
        if stage not in known:
            raise UsageError(must("--stage", "name a stage", stage, next_step=nearest(stage, known)))
    longer = beyond_training(params.generate.duration_s, trained_s(model, root))
    free = (machine.free_memory_bytes(), shutil.disk_usage(root).free)
    size = f"{params.compute.workers} worker(s), {params.generate.duration_s:g} s per clip"
    lines = [
        f"{model.id}, {model.dtype}, {size}",
        *([longer] if longer else []),
        "",
        f"{'stage':<12}{'time':>9}{'memory each':>13}{'processes':>11}{'disk':>10}",
    ]
    lines += [_row(cost) for cost in costs]
    n_bytes = sum(cost.disk_bytes for cost in costs)
    lines.append(f"{'in all':<12}{machine.in_time(sum(c.seconds for c in costs)):>9}{'':>24}"
                 f"{machine.in_bytes(n_bytes):>10}")  # fmt: skip
    lines.append(f"free: {machine.in_bytes(free[0])} memory, {machine.in_bytes(free[1])} disk")
    for cost in costs:
        if {cost.stage, "all"} & set(chosen.stage):
            lines += [
                "",
                cost.stage,
                *_terms("memory of one process", cost.memory),
                *_terms("disk", cost.disk),
            ]
    absent = machine.device_fault(model.device)
    faults = [absent] if absent else []
    faults += [fault for cost in costs if (fault := machine.fault_of(cost, root, model.device))]
    if not faults and n_bytes > free[1]:
        got = f"{machine.in_bytes(free[1])} free, {machine.in_bytes(n_bytes)} needed"
        faults = [must("the disk", "hold what all stages write", got, next_step=machine.LESS)]
    fits = "fits" if model.device == "cpu" else f"fits; the memory of {model.device} is not checked"
    lines += ["", *(f"does not fit: {fault}" for fault in faults)] if faults else ["", fits]
    return "\n".join(lines)


def _row(cost: Cost) -> str:
    from moodlens.forecast.machine import in_bytes, in_time

    memory, disk = in_bytes(cost.memory_bytes), in_bytes(cost.disk_bytes)
    return f"{cost.stage:<12}{in_time(cost.seconds):>9}{memory:>13}{cost.workers:>11}{disk:>10}"


def _terms(title: str, terms: Mapping[str, int]) -> list[str]:
    from moodlens.forecast.machine import in_bytes

    if not terms:
        return []
    rows = [f"  {title:<36}{in_bytes(sum(terms.values())):>10}"]
    return rows + [f"    {name:<34}{in_bytes(n_bytes):>10}" for name, n_bytes in terms.items()]
