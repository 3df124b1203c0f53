"""CPU and memory of this process and its children while a stage works, for the record of its run."""

import time
from collections.abc import Callable
from threading import Event, Thread

import psutil

FIRST_INTERVAL_S = 1.0
MAX_SAMPLES = 240
"""Samples that are kept; when they are full every second one is dropped and the interval doubles."""


class Monitor:
    """Samples in a thread from `with` to the end of its block.

    Samples are (milliseconds since the epoch, CPU percent of one core, resident megabytes).
    """

    def __init__(self, interval_s: float = FIRST_INTERVAL_S, clock: Callable[[], float] = time.time) -> None:
        self.samples: list[tuple[int, float, float]] = []
        self._interval_s = interval_s
        self._clock = clock
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._cpu_s = 0.0
        self._at = 0.0

    def __enter__(self) -> "Monitor":
        self._cpu_s, _ = _usage()
        self._at = self._clock()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._take()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._take()
            if len(self.samples) >= MAX_SAMPLES:
                self.samples = self.samples[1::2]
                self._interval_s *= 2

    def _take(self) -> None:
        cpu_s, memory_bytes = _usage()
        now = self._clock()
        passed = max(now - self._at, 1e-3)
        # A worker that ended takes its CPU time with it; the difference is then no usage.
        percent = max(cpu_s - self._cpu_s, 0.0) / passed * 100
        self.samples.append((round(now * 1000), round(percent, 1), round(memory_bytes / 1e6, 1)))
        self._cpu_s, self._at = cpu_s, now


def _usage() -> tuple[float, int]:
    """Return CPU seconds and resident bytes of this process and its living children."""
    cpu_s, memory_bytes = 0.0, 0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        try:
            times, memory = process.cpu_times(), process.memory_info()
        except psutil.Error:  # it ended between the two calls
            continue
        cpu_s += times.user + times.system
        memory_bytes += memory.rss
    return cpu_s, memory_bytes
