"""A pool of processes for shard tasks: results do not depend on how many there are.

Workers are spawned, not forked (torch and BLAS do not survive a fork), inherit the thread limits through the
environment, and leave when their parent is killed: an orphan must not write where a resumed run writes.

Progress of long work: a bar with rate and remaining time on a terminal, plain lines elsewhere.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

from tqdm import tqdm

from moodlens.base.errors import ContractError, must

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


Task = TypeVar("Task")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def run_tasks(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    threads: int,
    label: str,
    unit: str = "shard",
    done: int = 0,
) -> list[Result]:
    """Return `work(task)` of every task, in the order of the tasks.

    Args:
        work: a function of a module (workers import it), idempotent.
        tasks: picklable.
        workers: processes; with 1, or one task, everything runs in this process.
        threads: BLAS and torch threads of each process.
        label: what the progress bar says.
        unit: what it counts.
        done: tasks that an earlier run finished, for the bar.

    Raises:
        MoodLensError: what a task raised, as it was raised there; what the other tasks finished is kept.
        ContractError: a worker was killed (out of memory, a signal).
    """
    workers = min(workers, len(tasks))
    with _thread_limit(threads), progress(label, unit, len(tasks) + done, done) as advance:
        if workers > 1:
            return _in_processes(work, tasks, workers, advance)
        results = []
        for task in tasks:
            results.append(work(task))
            advance()
        return results


def _in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int, advance: Callable[[], None]
) -> list[Result]:
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_with_parent) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            for future in _as_finished(futures):
                future.result()
                advance()
        except BrokenProcessPool:
            advice = (
                "It may have run out of memory: lower compute.workers and run again; finished shards are kept"
            )
            raise ContractError(
                must("a worker process", "finish its task", "killed", next_step=advice)
            ) from None
        except (
            BaseException
        ):  # Ctrl-C and SystemExit too: shards not begun must not start after they were raised
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _as_finished(futures: Sequence[Future[Result]]) -> Iterator[Future[Result]]:
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from finished


def _leave_with_parent() -> None:
    """Start a thread that ends this worker when its parent is gone."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _thread_limit(threads: int) -> Iterator[None]:
    """Set the thread limits that spawned processes inherit; they are read when BLAS is loaded."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
