"""What a command says when Ctrl-C ends work that can be gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from seqkit.cli.importing import again

__all__ = ["INTERRUPTED", "resumable"]

INTERRUPTED = 130  # as a shell reports a process that Ctrl-C ended


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Ends the command in one sentence where work was stopped and its folder is known.

    Args:
        how: How to go on, with {} where the folder stands, and a second {} for `--import` as it was given.

    Raises:
        Exit: Ctrl-C, with the folder as the interrupt's argument; one without is passed on.

    Example:
        >>> with resumable("the same command goes on with {}"):
        ...     pass
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if not stop.args:
            raise
        typer.echo(f"seqkit: stopped; {how.format(stop.args[0], again())}", err=True)
        raise typer.Exit(INTERRUPTED) from None
