"""Running a function once per rank on this machine, without another program."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from seqkit.checks import check_positive_int
from seqkit.distributed.launch import join, leave, rank_environment, shared_store
from seqkit.distributed.launcher import end_with

__all__ = ["RankError", "run_ranks"]

_GRACE = 10.0
"""Seconds that the other ranks get to say their word after one has failed."""

_PRELOADED = ["seqkit.distributed.pipeline", "seqkit.distributed.split", "seqkit.kernels.quantise.loops"]
"""Modules that most ranks need; one that cannot be imported, as for want of numba, is passed over."""


class RankError(RuntimeError):
    """A function failed on some rank.

    Args:
        message: What the rank that failed first said.
        errors: What each rank that failed said, by its number.

    Example:
        >>> RankError("rank 1 failed", {1: "no memory"}).errors[1]
        'no memory'
    """

    def __init__(self, message: str, errors: dict[int, str]) -> None:
        super().__init__(message)
        self.errors = errors


def run_ranks(
    function: Callable[..., Any], n_ranks: int, *arguments: Any, timeout: float = 120.0, limit: float = 3600.0
) -> list[Any]:
    """Calls `function(world, *arguments)` on each of several ranks and returns what each returned.

    The ranks are processes of this machine, which end with this one. A script that calls it needs
    `if __name__ == "__main__":`, as with multiprocessing, since the ranks import it.

    Args:
        function: A function of a module, with a `World` as its first argument.
        n_ranks: Number of ranks.
        arguments: Further arguments; they are pickled.
        timeout: Seconds after which a rank that hears nothing from another gives up.
        limit: Seconds after which all are stopped.

    Returns:
        Results in the order of the ranks.

    Raises:
        RankError: a rank failed, or all were stopped; `errors` has each rank's words.

    Example:
        >>> run_ranks(train, 2, "settings")  # doctest: +SKIP
        [0.31, 0.31]
    """
    check_positive_int("n_ranks", n_ranks)
    context: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(os, "fork"):  # what takes seconds to import is imported once for all ranks
        context.set_forkserver_preload(_PRELOADED)
    store = shared_store()
    ranks, pipes = [], []
    for rank in range(n_ranks):
        mine, theirs = context.Pipe(duplex=False)
        environment = rank_environment(rank, n_ranks, store.port)
        process = context.Process(target=_rank, args=(theirs, environment, timeout, function, arguments), daemon=True)
        process.start()
        theirs.close()
        ranks.append(process)
        pipes.append(mine)
    results: dict[int, Any] = {}
    errors: dict[int, str] = {}
    try:
        _collect(pipes, results, errors, limit)
    finally:
        for process in ranks:
            process.join(1.0 if errors else 10.0)
            if process.is_alive():
                process.kill()
                process.join()
    if errors:
        first = next(iter(errors.values()))
        raise RankError(first, errors)
    return [results[rank] for rank in range(n_ranks)]


def _collect(pipes: list[Connection], results: dict[int, Any], errors: dict[int, str], limit: float) -> None:
    stop_at = time.monotonic() + limit
    waiting = dict(enumerate(pipes))
    while waiting and time.monotonic() < stop_at:
        for rank, pipe in list(waiting.items()):
            if not pipe.poll(0.01):
                continue
            try:
                good, value = pickle.loads(pipe.recv_bytes())
            except EOFError:
                good, value = False, f"rank {rank} ended without a word: it was killed, or its process broke"
            del waiting[rank]
            (results if good else errors)[rank] = value
            if not good:
                stop_at = min(stop_at, time.monotonic() + _GRACE)
    for rank in waiting:
        errors.setdefault(rank, f"rank {rank} did not end in time and was stopped")


def _rank(
    pipe: Connection, environment: dict[str, str], timeout: float, function: Callable[..., Any], arguments: Any
) -> None:
    os.environ.update(environment)
    launcher = multiprocessing.parent_process()
    if launcher is not None:
        end_with(launcher.sentinel)
    try:
        world = join(timeout=timeout)
        result = function(world, *arguments)
        leave()
        # Not `send`, by which tensors would stay in memory of a process that ends now.
        pipe.send_bytes(pickle.dumps((True, result)))
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
        if os.environ.get("SEQKIT_TRACEBACK"):
            told += "\n" + "".join(traceback.format_exception(error))
        pipe.send_bytes(pickle.dumps((False, told)))
        pipe.close()
        os._exit(1)  # no leave: the others may never come, and their connections must close now
