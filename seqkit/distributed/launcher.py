"""Ranks end with the process that started them, also when it is killed and can tell them nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from multiprocessing.connection import wait

__all__ = ["end_with", "end_with_launcher", "held_pipe"]

_VARIABLE = "SEQKIT_LAUNCHER"


@contextmanager
def held_pipe(environment: MutableMapping[str, str]) -> Iterator[int]:
    """Holds a pipe open whose other end the ranks watch: the system closes it when this process ends, however it does.

    Args:
        environment: Of the ranks; the pipe's number is added.

    Returns:
        The end for the ranks, to be passed on by `subprocess.Popen(pass_fds=...)`.

    Example:
        >>> variables = {}
        >>> with held_pipe(variables) as end:
        ...     variables == {"SEQKIT_LAUNCHER": str(end)}
        True
    """
    theirs, ours = os.pipe()
    environment[_VARIABLE] = str(theirs)
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)


def end_with_launcher() -> None:
    """Ends this process, a rank, as soon as the one that called `held_pipe` has gone; does nothing in others.

    Example:
        >>> end_with_launcher()  # this process is no rank
    """
    # Taken out, so that programs which the rank starts do not look for a pipe that they were not given.
    number = os.environ.pop(_VARIABLE, "")
    if number.isdigit():
        end_with(int(number))


def end_with(handle: int) -> None:
    """Ends this process when the other end of a pipe is closed; nothing may be written to it.

    The process ends at once, without cleaning up: what it shares with others is written whole or not at all.

    Args:
        handle: This end of the pipe.
    """

    def watch() -> None:
        try:
            wait([handle])
        except OSError:  # no open file: a program between the two closed it, so there is nothing to watch
            return
        os._exit(1)

    threading.Thread(target=watch, name="seqkit-launcher", daemon=True).start()
