"""Time, disk and memory of the pipeline for this model and these parameters, before any work; and refusal.

What is not known from configuration and parameters is measured in a moment: how fast one core multiplies and
reads, how much memory and disk are free. The formulas are in `capture.cost`, their check in docs/plan.md.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from moodlens.backends import catalog
from moodlens.backends.published import published_config
from moodlens.base.errors import MoodLensError, UsageError, must
from moodlens.base.units import frames_for
from moodlens.capture.cost import Cost, Load, Rates, analysis_cost, embed_cost, generate_cost
from moodlens.capture.sizes import Sizes, sizes_of
from moodlens.contracts.params import Model, Params
from moodlens.contracts.tables import PROMPTS
from moodlens.store.tables import read_table

CGROUP = Path("/sys/fs/cgroup")


def config_of(model: Model, root: Path) -> Mapping[str, Any]:
    """Return the configuration of a model: of its folder, or of a published one that is not on this machine.

    Raises:
        UsageError, ContractError: as `catalog.find`, for anything but a published id.
    """
    try:
        return catalog.find(model, root).checkpoint.config
    except MoodLensError:
        found = published_config(model.id)
        if found is None:
            raise
        return found


def load_of(params: Params, sizes: Sizes, n_clips: int, n_prompts: int) -> Load:
    """Return what the parameters ask of a model of these sizes."""
    asked = params.generate
    n_layers = sizes.n_layers if asked.layers == "all" else len(set(asked.layers))
    n_halves = 2 if asked.half == "both" else 1
    return Load(
        n_clips=n_clips,
        n_prompts=n_prompts,
        n_frames=frames_for(asked.duration_s, sizes.frame_rate_hz),
        clips_per_shard=asked.clips_per_shard,
        block_clips=asked.block_clips,
        halves_run=2 if asked.guidance_scale != 1 or asked.half != "cond" else 1,
        hookpoints=len(asked.sites) * n_layers * n_halves,
        step_stride=asked.step_stride,
        keep_steps=not asked.pooled_only,
        dtype=params.model.dtype,
        store_dtype=asked.store_dtype,
        workers=params.compute.workers,
    )


def n_prompts_of(params: Params, root: Path) -> int:
    """Return the prompts of the workspace, or as many as the parameters ask for where there is no table."""
    path = root / "data" / "prompts.csv"
    if path.is_file():
        return len(read_table(PROMPTS, path))
    return len(params.prompts.emotions) * params.prompts.n_per_emotion


def costs_of(params: Params, root: Path) -> list[Cost]:
    """Return the cost of every stage that grows with the model."""
    sizes = sizes_of(config_of(params.model, root))
    n_prompts = n_prompts_of(params, root)
    load = load_of(params, sizes, n_prompts * params.generate.n_seeds, n_prompts)
    return [generate_cost(sizes, load, measured_rates()), embed_cost(sizes, load), analysis_cost(sizes, load)]


def measured_rates() -> Rates:
    """Return what one core does now: a square product of 512, a sum over 64 MB; best of a few."""
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
    """Return the memory that new processes can take, within a container's limit."""
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

    Memory is checked where the model runs on the processor; on another device weights, cache and chunks are
    there, and the line above says how much they need.

    Raises:
        UsageError: it does not; the line has the numbers and the largest terms.
    """
    free_disk = shutil.disk_usage(root).free
    if cost.disk_bytes > free_disk:
        advice = "Raise generate.step_stride, set generate.pooled_only, or record fewer layers; "
        got = f"{in_bytes(free_disk)} free, {in_bytes(cost.disk_bytes)} needed ({largest(cost.disk)})"
        raise UsageError(must("the disk", f"hold what {cost.stage} writes", got, next_step=advice + PLAN))
    if device != "cpu":
        return
    free, needed = free_memory_bytes(), cost.memory_bytes * workers
    if needed > free:
        fits = int(free // cost.memory_bytes)
        advice = f"Set compute.workers to {fits}; " if fits else SMALLER
        got = f"{in_bytes(free)} free, {in_bytes(needed)} needed by {workers} ({largest(cost.memory)})"
        raise UsageError(must("memory", f"hold the workers of {cost.stage}", got, next_step=advice + PLAN))


SMALLER = "Set model.dtype bfloat16, lower generate.block_clips or clips_per_shard, or take a smaller model; "
PLAN = "`moodlens plan` shows every term"


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
    """Return a duration in the unit that reads best.

    >>> in_time(42), in_time(600), in_time(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
