"""Samples of CPU and memory: taken while a block works, of the children too, and never too many."""

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import psutil
import pytest

from moodlens.compute import monitor
from moodlens.compute.monitor import MAX_SAMPLES, Monitor


def steps(values: list[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    yield from values


def test_each_sample_is_the_cpu_time_of_its_interval_as_a_share_of_one_core(monkeypatch: pytest.MonkeyPatch):
    """Hand-worked: 1 s of CPU in 2 s, then 3 s in 2 s, then a worker has ended and took 2 s away."""
    usage = steps([(10.0, 0), (11.0, 5_000_000), (14.0, 7_540_000), (12.0, 1_000_000)])
    moments = iter([100.0, 102.0, 104.0, 106.0])
    monkeypatch.setattr(monitor, "_usage", lambda: next(usage))
    with Monitor(interval_s=3600, clock=lambda: next(moments)) as watched:
        watched._take()
        watched._take()
    assert watched.samples == [(102_000, 50.0, 5.0), (104_000, 150.0, 7.5), (106_000, 0.0, 1.0)]


def test_a_block_has_a_sample_even_if_it_is_shorter_than_the_interval():
    before = time.time() * 1000
    with Monitor(interval_s=3600) as watched:
        pass
    ((at, percent, memory_mb),) = watched.samples
    assert before - 1 <= at <= time.time() * 1000 + 1
    assert percent >= 0
    assert memory_mb > 10


def test_memory_counts_the_children():
    own_mb = psutil.Process().memory_info().rss / 1e6
    command = [sys.executable, "-c", "import sys; x = bytearray(400_000_000); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child, Monitor(0.01) as watched:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and _largest_mb(watched) < own_mb + 300:
            time.sleep(0.01)
        child.communicate()
    assert _largest_mb(watched) >= own_mb + 300


def _largest_mb(watched: Monitor) -> float:
    return max((memory_mb for _, _, memory_mb in watched.samples), default=0.0)


def test_long_work_keeps_few_samples_spread_over_all_of_it(monkeypatch: pytest.MonkeyPatch):
    """The thread is replaced by its loop: 1000 intervals, each of the length that the monitor requests."""
    now = [0.0]
    monkeypatch.setattr(monitor, "_usage", lambda: (0.0, 0))
    watched = Monitor(interval_s=1.0, clock=lambda: now[0])

    class Clockwork:
        left = 1000

        def wait(self, interval_s: float) -> bool:
            now[0] += interval_s
            self.left -= 1
            return self.left < 0

    monkeypatch.setattr(watched, "_stop", Clockwork())
    watched._watch()
    times = [sample[0] / 1000 for sample in watched.samples]
    assert len(times) < MAX_SAMPLES
    assert times[-1] > 0.9 * now[0]
    gaps = {round(later - earlier) for earlier, later in pairwise(times)}
    assert len(gaps) <= 2, "evenly spread"


def test_an_error_in_the_block_ends_the_thread_and_passes():
    watched = Monitor(interval_s=0.001)
    with pytest.raises(ValueError, match="own"), watched:
        raise ValueError("own")
    assert not watched._thread.is_alive()
