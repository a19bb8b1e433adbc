"""`seqkit data list|info|prepare|show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqkit.cli.options import Import, Json
from seqkit.cli.show import as_json, count, table

if TYPE_CHECKING:
    from seqkit.datasets.source import Source

__all__ = ["app"]

app = typer.Typer(help="List, describe, fetch and draw data sets.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="Name of a data set, or path of your own data.")]
_Settings = Annotated[
    list[str] | None, typer.Argument(help="Options of the data set as key=value, such as permutation=random:1.")
]


@app.command("list")
def list_(
    import_: Import = None,
    json_: Json = False,
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
    name: _Name,
    settings: _Settings = None,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Say what a data set holds, its licence and origin, and which of its files are on the disk."""
    from seqkit.runs.source import describe_source

    facts = describe_source(_source(name, settings))
    if json_:
        as_json(facts)
        return
    facts["on_disk"] = _on_disk(facts["on_disk"], name)
    table(
        name,
        ["", ""],
        [(_label(key), _words(value)) for key, value in facts.items() if value not in (None, [], "")],
    )


@app.command("prepare")
def prepare(
    name: _Name,
    settings: _Settings = None,
    offline: Annotated[bool, typer.Option("--offline", help="Only look for the files; fetch nothing.")] = False,
    import_: Import = None,
) -> None:
    """Fetch a data set's files, or say where to put them, and lay a large set down for quick starts.

    What was interrupted goes on.
    """
    from seqkit.datasets.prepared import load_prepared

    source = _source(name, settings)
    source.prepare(offline=offline)
    _, prepared = load_prepared(source)
    typer.echo(f"{name} is ready" + ("" if prepared is None else f", prepared in {prepared.folder}"))


@app.command("show")
def show(
    name: _Name,
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Options of the data set as key=value, and the shares validation and test."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="PNG to write; NAME.series.png in the working folder if left out."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test, or all.")] = "train",
    per_class: Annotated[int, typer.Option(help="Series of each class, or of each kind of target.")] = 3,
    offline: Annotated[bool, typer.Option("--offline", help="Only look for the files; fetch nothing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over a file that this command did not draw.")
    ] = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Draw a few series of each class, or with small, middling and large targets, to a PNG."""
    from seqkit.runs.settings import parse_settings
    from seqkit.runs.show import show_series

    shown = show_series(
        name, out, split=split, per_class=per_class, settings=parse_settings(settings or []), offline=offline,
        overwrite=overwrite,
    )  # fmt: skip
    if json_:
        as_json(shown.to_dict())
        return
    n_drawn = sum(map(len, shown.shown.values()))
    typer.echo(f"{shown.path}: {n_drawn} of {shown.n_series} series ({shown.part})")


def _source(name: str, settings: list[str] | None) -> Source:
    from seqkit.runs.settings import parse_settings
    from seqkit.runs.source import build_source, data_config

    return build_source(data_config(name, parse_settings(settings or [])))


def _on_disk(found: dict[str, int] | None, name: str) -> str:
    if found is None:
        return ""
    files, size = found["files"], float(found["bytes"])
    if not files:
        return f"nothing yet; `seqkit data prepare {name}` fetches it or says where to put it"
    units = ["bytes", "kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{count(files, 'file')}, {size:.3g} {units[0]}"


def _label(key: str) -> str:
    units = {"n_channels": "number of channels", "sample_rate": "sample rate, Hz", "max_length": "longest, samples"}
    return units.get(key, key.replace("_", " "))


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
