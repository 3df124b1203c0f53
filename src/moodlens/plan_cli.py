"""`moodlens plan`: time, memory and disk of the pipeline from a model's configuration and the parameters.

moodlens plan                                   the model of params.yaml
moodlens plan --model facebook/musicgen-large   another; a published one need not be on this machine
"""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moodlens.base.errors import UsageError
from moodlens.capture.cost import Cost
from moodlens.contracts.params import Params


def add_command(subparsers: Any) -> None:
    """Add `plan`; `run` of this module carries it out."""
    planning = subparsers.add_parser("plan", help="time, memory and disk before any work")
    planning.add_argument("--model", default="", help="an id from `moodlens models list`, or a folder")
    planning.add_argument("--dtype", default="", choices=("float32", "bfloat16", "float16"))


def run(chosen: argparse.Namespace, root: Path, params: Params) -> str:
    """Return the forecast of every stage that grows with the model, term by term, and whether it fits.

    Raises:
        UsageError: the model is unknown.
    """
    from moodlens.stages import forecast

    model = params.model
    if chosen.model:
        model = replace(model, id=chosen.model, revision="")
    if chosen.dtype:
        model = replace(model, dtype=chosen.dtype)
    params = replace(params, model=model)
    costs = forecast.costs_of(params, root)
    workers = params.compute.workers
    lines = [f"{model.id}, {model.dtype}, {workers} worker(s), {params.generate.duration_s:g} s per clip"]
    for cost in costs:
        lines.append(f"\n{cost.stage:<16}{forecast.in_time(cost.seconds):>10}, all workers")
        lines += _terms("memory of one worker", cost.memory)
        lines += _terms("disk", cost.disk)
    lines.append(f"\nfree: {forecast.in_bytes(forecast.free_memory_bytes())} memory, "
                 f"{forecast.in_bytes(shutil.disk_usage(root).free)} disk")  # fmt: skip
    lines.append(_verdict(costs[0], root, workers, model.device))
    return "\n".join(lines)


def _terms(title: str, terms: Mapping[str, int]) -> list[str]:
    from moodlens.stages.forecast import in_bytes

    if not terms:
        return []
    rows = [f"  {title:<36}{in_bytes(sum(terms.values())):>10}"]
    return rows + [f"    {name:<34}{in_bytes(n_bytes):>10}" for name, n_bytes in terms.items()]


def _verdict(cost: Cost, root: Path, workers: int, device: str) -> str:
    from moodlens.stages import forecast

    try:
        forecast.check_fits(cost, root, workers, device)
    except UsageError as error:
        return f"does not fit: {error}"
    return "fits"
