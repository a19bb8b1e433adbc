"""`seqkit data list|info|prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqkit.cli.show import as_json, table

if TYPE_CHECKING:
    from seqkit.datasets.source import Source

__all__ = ["app"]

app = typer.Typer(help="List, describe and fetch data sets.", no_args_is_help=True)


@app.command("list")
def list_(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
) -> None:
    """List the data sets by name."""
    from seqkit.datasets.registry import get_source, source_names

    described = {name: get_source(name).describe() for name in source_names() if name != "folder"}
    if json_:
        as_json(described)
        return
    rows = [(name, str(facts.get("title", "")), str(facts.get("task", ""))) for name, facts in described.items()]
    rows.append(("PATH", "your own data: CSV, Parquet, NPZ or .ts, a file or a folder", "any"))
    table("data sets", ["name", "what it is", "target"], rows)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="Name of a data set, or path of your own data.")],
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
) -> None:
    """Say what a data set holds, where it comes from and where its files are looked for."""
    facts = _facts(name)
    if json_:
        as_json(facts)
        return
    table(
        name,
        ["", ""],
        [(key.replace("_", " "), _words(value)) for key, value in facts.items() if value not in (None, [])],
    )


@app.command("prepare")
def prepare(
    name: Annotated[str, typer.Argument(help="Name of a data set, or path of your own data.")],
    offline: Annotated[bool, typer.Option("--offline", help="Only look for the files; fetch nothing.")] = False,
) -> None:
    """Fetch a data set's files, or say where to put them."""
    _source(name).prepare(offline=offline)
    typer.echo(f"{name} is ready")


def _source(name: str) -> Source:
    from seqkit.runs.config import RunConfig
    from seqkit.runs.source import build_source

    return build_source(RunConfig.build(data=name).data)


def _facts(name: str) -> dict[str, Any]:
    source = _source(name)
    known = source.info()
    return {
        **source.describe(),
        "task": known.task,
        "n_channels": known.n_channels,
        "channels": list(known.channels),
        "classes": list(known.classes),
        "sample_rate": known.sample_rate,
        "max_length": known.max_length,
    }


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
