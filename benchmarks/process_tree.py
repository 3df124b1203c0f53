"""Run a command and measure it: wall time, CPU time and peak memory of the command and all its children."""

import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

SAMPLE_S = 0.1
FORK_S = 1.0
"""Age below which a child with its parent's command line counts as between fork and exec."""


@dataclass(frozen=True)
class Measured:
    """What a command cost."""

    wall_s: float
    cpu_s: float  # user + system, of every child that ended
    peak_gb: float  # largest sum of resident sets over the tree, 1 GB = 1e9 bytes; shared pages count twice
    exit_code: int
    output: str  # stdout and stderr together


def measure(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Measured:
    """Run `command` in `cwd` to its end and return what it cost."""
    before = _children_cpu_s()
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=dict(env), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    ended, peaks = Event(), [0]
    sampler = Thread(target=_watch, args=(process.pid, ended, peaks), daemon=True)
    sampler.start()
    output, _ = process.communicate()
    wall_s = time.perf_counter() - start
    ended.set()
    sampler.join()
    return Measured(wall_s, _children_cpu_s() - before, max(peaks) / 1e9, process.returncode, output)


def tree_rss_bytes(pid: int) -> int:
    """Return the sum of resident sets of a process and its descendants; those that just ended count 0.

    So does a child that was forked and has not become its own program yet: its pages are its parent's.
    """
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in members:
        try:
            total += 0 if _just_forked(member) else member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _just_forked(process: psutil.Process) -> bool:
    parent = process.parent()
    return _age_s(process) < FORK_S and parent is not None and process.cmdline() == parent.cmdline()


def _age_s(process: psutil.Process) -> float:
    """Return the age of a process; on Linux by the clock since boot, which its start is measured with.

    The wall clock may have been set since, or have drifted from the boot time that the kernel reports.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - (process.create_time() - psutil.boot_time())
    return time.time() - process.create_time()


def _watch(pid: int, ended: Event, peaks: list[int]) -> None:
    while not ended.wait(SAMPLE_S):
        peaks.append(tree_rss_bytes(pid))


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
