"""`seqkit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.options import Import, Json, Offline
from seqkit.cli.show import as_json, note, table
from seqkit.cli.stopping import resumable

__all__ = ["compare"]


def compare(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings key=value for every model that has the key, or MODEL.key=value for one."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="Data sets, by name or path, with commas between them.")
    ] = "japanese_vowels",
    models: Annotated[str, typer.Option(help="Models with commas between them, or all.")] = "all",
    seeds: Annotated[int, typer.Option(help="Seeds of each training, counted from 0.")] = 1,
    budget: Annotated[
        str | None, typer.Option(help="Time for one training, such as 90s or 10m; all epochs if left out.")
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(help="Parameters that each model's width is chosen for; the recipe's if left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; comparisons/DATA if left out.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew in a folder that holds another comparison.")
    ] = False,
    offline: Offline = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Train several models under the same budget and rules; the same command again goes on with it."""
    from seqkit.runs import parse_settings
    from seqkit.runs.comparison.comparing import compare as run_comparison
    from seqkit.runs.comparison.report import columns, lines

    with resumable("the same command goes on with {}"):
        found = run_comparison(
            _names(data),
            _names(models),
            seeds=seeds,
            budget=budget,
            parameters=parameters,
            out=out,
            overwrite=overwrite,
            offline=offline,
            settings=parse_settings(settings or []),
        )
    if json_:
        as_json({"comparison": str(found.path), "rows": [row.to_dict() for row in found.rows]})
        return
    every = found.summaries
    for name in dict.fromkeys(one.data for one in every):
        here = [one for one in every if one.data == name]
        table(name, columns(here), lines(here))
        for one in here:
            for words in one.notes:
                note(f"{one.model}: {words}")
    typer.echo(f"written to {found.path}: table.md, rows.csv, comparison.png, and each run")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
