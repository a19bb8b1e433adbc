"""How commands print: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["as_json", "count", "note", "table"]


def as_json(values: dict[str, Any]) -> None:
    """Prints one object on one line."""
    typer.echo(json.dumps(values))


def count(number: int, what: str) -> str:
    """Words a number of things.

    Example:
        >>> count(1, "epoch"), count(2, "epoch"), count(1, "series")
        ('1 epoch', '2 epochs', '1 series')
    """
    return f"{number} {what}{'' if number == 1 or what.endswith('s') else 's'}"


def note(words: str) -> None:
    """Prints what a reader should know beside the result, on standard error."""
    typer.echo(f"note: {words}", err=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, as wide as the terminal, or plain where there is none."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(show_header=any(columns))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console = Console()
    # A file or a pipe has no width of its own; 80 columns would cut paths apart.
    console = console if console.is_terminal else Console(width=200)
    console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)  # a table wraps it to its width
    console.print(shown)
