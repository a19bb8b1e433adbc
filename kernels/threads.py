"""Shares a compiled loop among torch's threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

__all__ = ["share"]


def share(work: Callable[[int, int], None], count: int, smallest: int = 1) -> None:
    """Calls `work(start, stop)` for parts that cover 0 .. count-1, one part a thread.

    `work` must release the interpreter's lock (numba's nogil=True) for the threads to run at the same time. Threads of
    Python wait without spinning, unlike OpenMP's, which ruin each other on a busy machine.

    Args:
        work: Takes the first index and the one past the last.
        count: Number of items.
        smallest: Fewest items that are worth a thread of their own.

    Example:
        >>> seen = []
        >>> share(lambda start, stop: seen.extend(range(start, stop)), 5)
        >>> sorted(seen)
        [0, 1, 2, 3, 4]
    """
    parts = max(1, min(torch.get_num_threads(), count // max(1, smallest)))
    edges = [count * part // parts for part in range(parts + 1)]
    failures: list[BaseException] = []

    def run(start: int, stop: int) -> None:
        try:
            work(start, stop)
        except BaseException as error:  # carried to the caller's thread
            failures.append(error)

    others = [threading.Thread(target=run, args=(edges[part], edges[part + 1])) for part in range(1, parts)]
    for thread in others:
        thread.start()
    run(edges[0], edges[1])
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]
