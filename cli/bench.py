"""`seqkit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqkit.cli.options import Json
from seqkit.cli.show import as_json, count, note, table
from seqkit.cli.stopping import INTERRUPTED

if TYPE_CHECKING:
    from seqkit.bench import BenchResult

__all__ = ["bench"]


def bench(
    operators: Annotated[
        list[str] | None, typer.Argument(help="Operators and layers, such as vandermonde; all of them if left out.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="tiny (only to see that all works), quick (minutes) or full.")] = "quick",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    backend: Annotated[
        list[str] | None, typer.Option(help="Measure this backend only; may be given several times.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Rounds of each measurement; the median counts.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads; with more than one, wall time is measured.")] = 1,
    tuned: Annotated[
        bool, typer.Option("--tuned", help="Call seqkit.tune_cpu() first, for the peers as well.")
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure peak memory over growing length in place of time.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for CSV, page and picture; one that holds some is gone on with.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew in a folder that holds some.")] = False,
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw the picture.")] = True,
    json_: Json = False,
) -> None:
    """Measure operators against their usual forms and against what this machine allows at best."""
    from seqkit.bench import bench as measure
    from seqkit.bench import bench_memory

    common: dict[str, Any] = {
        "sizes": sizes, "device": device, "threads": threads, "out": out, "overwrite": overwrite, "picture": picture,
    }  # fmt: skip
    with Shown() as shown:
        if memory:
            if backend or tuned or repeats != 5:
                raise ValueError("--memory takes neither --backend nor --repeats nor --tuned: each point is one call")
            result = bench_memory(operators or (), progress=shown.move, **common)
        else:
            options: dict[str, Any] = {"backends": backend or (), "repeats": repeats, "tuned": tuned}
            result = measure(operators or (), progress=shown.move, **options, **common)
    if json_:
        as_json(plain(result))
    else:
        show(result, memory)
    if not result.finished:
        kept = f"kept in {out}; the same command goes on" if out else "shown; with --out they would be kept"
        typer.echo(f"seqkit: stopped; {count(len(result.rows), 'row')} {kept}", err=True)
        raise typer.Exit(INTERRUPTED)


class Shown:
    """Progress on standard error: a moving line on a terminal, a line for each measurement elsewhere."""

    def __enter__(self) -> Shown:
        """Starts the moving line where there is a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = None
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the line away."""
        if self._bar is not None:
            self._bar.stop()

    def move(self, what: str, done: int, total: int) -> None:
        """Says what is measured next."""
        if self._bar is None:
            typer.echo(f"{done + 1}/{total} {what}", err=True)
        else:
            self._bar.update(self._task, description=what, completed=done, total=total)


def plain(result: BenchResult) -> dict[str, Any]:
    """The result as plain values."""
    return {
        "machine": result.machine,
        "roofs": {dtype: roofs._asdict() for dtype, roofs in result.roofs.items()},
        "rows": [row.to_dict() for row in result.rows],
        "packages": result.packages,
        "files": [str(file) for file in result.files],
        "finished": result.finished,
    }


def show(result: BenchResult, memory: bool) -> None:
    """Prints the table, what was left out, and the files."""
    from seqkit.bench.machine import headline
    from seqkit.bench.memory import MEMORY_COLUMNS, memory_lines
    from seqkit.bench.report import COMPACT, compact_lines, left_out, words_for_roofs
    from seqkit.bench.row import compare

    if memory:
        table(headline(result.machine), MEMORY_COLUMNS, memory_lines(result.rows))
    else:
        table(headline(result.machine), COMPACT, compact_lines(compare(result.rows)))
        for dtype, roofs in result.roofs.items():
            typer.echo(f"roofs in {dtype}: {words_for_roofs(roofs)}")
        for words in (*left_out(result.rows), *result.packages):
            note(words)
    for file in result.files:
        typer.echo(file)
