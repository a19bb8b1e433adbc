"""The processes of a launch: started together, waited for, and stopped together."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO

from seqkit.distributed.launcher import held_pipe

__all__ = ["run_processes"]

_GRACE = 10.0
"""Seconds that the other ranks get to say their word and to end after one has failed."""


def run_processes(
    commands: Sequence[Sequence[str]],
    own: Sequence[Mapping[str, str]],
    *,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> int:
    """Runs one command for each rank and waits for all of them.

    Rank 0 writes to this process's output. What another writes is kept, and shown when it is the first to fail. Then
    the others get a few seconds to end, and are stopped. Ranks that have called `join` end with this process, also
    when it is killed.

    Args:
        commands: Program and arguments of each rank.
        own: Variables of each rank, such as its number.
        environment: Further variables for all of them.
        limit: Seconds after which all are stopped; None for no limit.

    Returns:
        0, or the exit status of the rank that failed first (128 + signal where a signal ended it).

    Raises:
        TimeoutError: `limit` was reached.

    Example:
        >>> run_processes([["true"], ["true"]], [{"RANK": "0"}, {"RANK": "1"}])
        0
    """
    shared = {**os.environ, **(environment or {})}
    ranks: list[subprocess.Popen[bytes]] = []
    outputs: list[IO[bytes] | None] = []
    try:
        with held_pipe(shared) as pipe:
            for rank, (command, variables) in enumerate(zip(commands, own, strict=True)):
                out: IO[bytes] | None = None if rank == 0 else tempfile.TemporaryFile()  # noqa: SIM115 - closed below, when all have ended
                outputs.append(out)
                mine = {**shared, **variables}
                ranks.append(subprocess.Popen(list(command), env=mine, stdout=out, stderr=out, pass_fds=[pipe]))
            failed = _wait(ranks, limit)
        if failed is not None and failed > 0:
            _show(failed, outputs[failed])
        return 0 if failed is None else _status(ranks[failed].returncode)
    finally:
        for one in ranks:
            if one.poll() is None:
                one.kill()
                one.wait()
        for file in outputs:
            if file is not None:
                file.close()


def _wait(ranks: list[subprocess.Popen[bytes]], limit: float | None) -> int | None:
    """Waits for all; gives the rank that failed first."""
    began, failed, stop_at = time.monotonic(), None, float("inf")
    while any(one.poll() is None for one in ranks):
        if failed is None:
            failed = next((k for k, one in enumerate(ranks) if one.poll() not in (None, 0)), None)
            if failed is not None:
                stop_at = time.monotonic() + _GRACE
        if time.monotonic() > stop_at:
            return failed
        if limit is not None and time.monotonic() - began > limit:
            raise TimeoutError(f"the ranks did not end within {limit:g} s and were stopped")
        time.sleep(0.05)
    return failed if failed is not None else next((k for k, one in enumerate(ranks) if one.returncode), None)


def _show(rank: int, output: IO[bytes] | None) -> None:
    if output is not None:
        output.seek(0)
        for line in output.read().decode(errors="replace").splitlines():
            print(f"[rank {rank}] {line}", file=sys.stderr)


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code
