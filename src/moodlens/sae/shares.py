"""Compiled work on torch's number of threads: shares of a range, one each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_shares(n: int, work: Callable[[int, int], None]) -> None:
    """Call `work(start, stop)` on consecutive shares of range(n), as many at a time as torch has threads.

    Args:
        work: releases the lock that Python threads share; its result must not depend on where shares begin.
    """
    n_threads = min(torch.get_num_threads(), n)
    if n_threads <= 1:
        work(0, n)
        return
    edges = [n * share // n_threads for share in range(n_threads + 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
