"""Progress of long work: a bar with rate and remaining time on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_EVERY_S = 10.0


@contextmanager
def progress(label: str, unit: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each finished unit.

    Args:
        label: what is being done.
        unit: what is counted, singular.
        total: units in all.
        done: units that an earlier run finished.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, initial=done, desc=label, unit=unit, dynamic_ncols=True) as bar:

            def advance() -> None:
                bar.update()

            yield advance
        return
    yield _lines(label, unit, total, done)


def _lines(label: str, unit: str, total: int, done: int) -> Callable[[], None]:
    started = last = time.monotonic()
    n = done
    if done:
        print(f"{label}: {done}/{total} {unit}s kept from an earlier run", file=sys.stderr, flush=True)

    def advance() -> None:
        nonlocal n, last
        n += 1
        now = time.monotonic()
        if n == total or now - last >= LINE_EVERY_S:
            last = now
            rate = (n - done) / max(now - started, 1e-9)
            left = (total - n) / rate
            line = f"{label}: {n}/{total} {unit}s, {rate:.2f} {unit}s/s, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)

    return advance
