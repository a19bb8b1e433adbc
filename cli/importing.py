"""`--import`: code of the user's own, imported before a command looks names up."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

__all__ = ["again", "import_all", "plain_warnings"]


def import_all(context: typer.Context, given: list[str] | None) -> list[str] | None:
    """Imports what was named; not while a shell only completes a line."""
    if given and not context.resilient_parsing:
        from seqkit.extensions import import_code

        for what in given:
            import_code(what)
    return given


def again() -> str:
    """The options that a command which goes on with this one's work needs too, each after a blank.

    Example:
        >>> from seqkit.extensions import import_options
        >>> again().split() == import_options()
        True
    """
    if "seqkit.extensions" not in sys.modules:
        return ""
    from seqkit.extensions import import_options

    return "".join(f" {shlex.quote(word)}" for word in import_options())


@contextmanager
def plain_warnings() -> Iterator[None]:
    """What seqkit warns of is a line on standard error, without the line of seqkit that says it."""
    shown, own = warnings.showwarning, Path(__file__).parent.parent

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
        ours = category is UserWarning and Path(filename).is_relative_to(own)
        if ours or category.__name__ == "ExtensionWarning":  # by name, so that `--help` imports nothing for it
            typer.echo(f"note: {message}", err=True)
        else:
            shown(message, category, filename, *rest, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
