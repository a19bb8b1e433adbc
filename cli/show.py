"""How commands print: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["as_json", "table"]


def as_json(values: dict[str, Any]) -> None:
    """Prints one object on one line."""
    typer.echo(json.dumps(values))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, as wide as the terminal, or plain where there is none."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left", show_header=any(columns))
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console = Console()
    # A file or a pipe has no width of its own; 80 columns would cut paths apart.
    (console if console.is_terminal else Console(width=200)).print(shown)
