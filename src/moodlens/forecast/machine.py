"""Rates and free resources of this machine, and the refusal of runs that do not fit.

The measurements take a moment: how fast one core multiplies and reads, how much memory and disk are free. The
cost formulas are in `forecast.generation` and `forecast.stages`; `forecast.plan` applies them to a run.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from moodlens.base.errors import UsageError, must
from moodlens.forecast.generation import Cost, Rates

CGROUP = Path("/sys/fs/cgroup")


def measured_rates() -> Rates:
    """Return the current rates of one core: a matrix product of size 512, a sum over 64 MB; best of a few."""
    square = np.ones((512, 512), dtype=np.float32)
    big = np.ones(16_000_000, dtype=np.float32)
    product_s = min(_seconds(lambda: square @ square) for _ in range(5))
    read_s = min(_seconds(big.sum) for _ in range(3))
    return Rates(2 * 512**3 / product_s, big.nbytes / read_s)


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def free_memory_bytes() -> int:
    """Return the memory that new processes can use, within the limit of a container."""
    free = psutil.virtual_memory().available
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.is_file() and used.is_file() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def line_of(cost: Cost, n_clips: int, workers: int) -> str:
    """Return the forecast of a stage as one line."""
    many = f"{workers} workers" if workers > 1 else "1 worker"
    return (
        f"plan: {cost.stage} {n_clips} clips, about {in_time(cost.seconds)} with {many}, "
        f"{in_bytes(cost.memory_bytes)} memory each, {in_bytes(cost.disk_bytes)} on disk"
    )


def check_fits(cost: Cost, root: Path, workers: int, device: str) -> None:
    """Check that the stage fits into the memory and the disk that are free.

    Raises:
        UsageError: it does not (the message has the numbers and the largest terms); the device is absent.
    """
    if fault := device_fault(device):
        raise UsageError(fault)
    if fault := fault_of(replace(cost, workers=workers), root, device):
        raise UsageError(fault)


def device_fault(device: str) -> str:
    """Return why no model can run on a device, "" if it is present."""
    if device == "cpu":
        return ""
    from moodlens.backends.musicgen.loading import device_of  # imports transformers, seconds

    try:
        device_of(device)
    except UsageError as error:
        return str(error)
    return ""


def fault_of(cost: Cost, root: Path, device: str) -> str:
    """Return why a stage does not fit into the free memory and disk, "" if it fits.

    Memory is checked only if the model runs on the CPU. On another device, that device holds the weights, the
    cache and the chunks; the forecast states their size.
    """
    free_disk = shutil.disk_usage(root).free
    if cost.disk_bytes > free_disk:
        got = f"{in_bytes(free_disk)} free, {in_bytes(cost.disk_bytes)} needed ({largest(cost.disk)})"
        return must("the disk", f"hold what {cost.stage} writes", got, next_step=LESS + PLAN)
    free, needed = free_memory_bytes(), cost.held_bytes * cost.workers
    if device != "cpu" or needed <= free:
        return ""
    fits = int(free // cost.held_bytes)
    advice = f"Set compute.workers to {fits}; " if fits else SMALLER
    got = f"{in_bytes(free)} free, {in_bytes(needed)} needed by {cost.workers} ({largest(cost.memory)})"
    return must("memory", f"hold the workers of {cost.stage}", got, next_step=advice + PLAN)


LESS = "Store fewer steps (generate.windows, step_stride, pooled_only), or record fewer layers; "
SMALLER = "Lower generate.block_clips or clips_per_shard, take model.dtype bfloat16, or a smaller model; "
PLAN = "`moodlens plan --stage all` shows every term"


def largest(terms: Mapping[str, int]) -> str:
    """Return the two largest terms.

    >>> largest({"a": 3_000_000, "b": 2, "c": 5_000_000_000})
    'c 5.0 GB, a 3.0 MB'
    """
    top = sorted(terms.items(), key=lambda term: -term[1])[:2]
    return ", ".join(f"{name} {in_bytes(n_bytes)}" for name, n_bytes in top)


def in_bytes(n_bytes: float) -> str:
    """Return bytes in GB or MB, powers of ten.

    >>> in_bytes(2_340_000_000), in_bytes(71_000_000)
    ('2.3 GB', '71.0 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def in_time(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours.

    >>> in_time(42), in_time(600), in_time(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
