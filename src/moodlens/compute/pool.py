"""A pool of processes for independent tasks; results do not depend on the number of processes.

Workers are spawned, not forked, because torch and BLAS do not survive a fork. They inherit the thread limits
through the environment. They exit when their parent is killed, so that no orphan writes into the files of a
resumed run. Progress is a bar with rate and remaining time on a terminal, and plain lines elsewhere.
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
    """Yield a function that is to be called after each finished unit.

    Args:
        label: name of the work.
        unit: name of a unit, singular.
        total: number of units, finished ones included.
        done: number of units that an earlier run finished.
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
        work: an idempotent module-level function (workers import it).
        tasks: picklable.
        workers: number of processes; with 1, or one task, everything runs in this process.
        threads: BLAS and torch threads of each process.
        label: label of the progress output.
        unit: name of a task in the progress output.
        done: tasks that an earlier run finished, for the progress output.

    Raises:
        MoodLensError: the error of a task, unchanged; results that other tasks stored are kept.
        ContractError: a worker was killed (out of memory, or a signal).
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
        except BaseException:  # Ctrl-C and SystemExit too: no further task may start after them
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _as_finished(futures: Sequence[Future[Result]]) -> Iterator[Future[Result]]:
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from finished


def _leave_with_parent() -> None:
    """Start a thread that ends this worker when its parent has ended."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _thread_limit(threads: int) -> Iterator[None]:
    """Set the thread limits that spawned processes inherit; BLAS reads them when it is loaded."""
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
