"""`seqkit search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from seqkit.cli.options import Config, Data, Import, Json, Offline, Overwrite, RunFolder
from seqkit.cli.show import as_json, count, table
from seqkit.cli.stopping import resumable

if TYPE_CHECKING:
    from seqkit.runs.searching import SearchResult

__all__ = ["search"]


def search(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings key=value: those of a run, such as epochs=20, and of the search, such as depth=1."
        ),
    ] = None,
    data: Data = None,
    model: Annotated[str | None, typer.Option(help="Name of a model with convolutions; tcn if left out.")] = None,
    config: Config = None,
    out: RunFolder = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the search in --out, or the latest under runs/.")
    ] = False,
    overwrite: Overwrite = False,
    offline: Offline = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Train a convolution network, then search over operations in place of its convolutions, and compare both."""
    from seqkit.runs import parse_settings
    from seqkit.runs.searching import search as run_search
    from seqkit.runs.searching import split_settings

    values = parse_settings(settings or [])
    if resume and (data or model or config or values or overwrite):
        raise ValueError("a resumed search keeps its own configuration; give nothing but --out")
    chosen, values = split_settings(values)
    with resumable("continue with `seqkit search --resume --out {}{}`"):
        result = run_search(
            data, model, config=config, search=None if resume else chosen, out=out, resume=resume, overwrite=overwrite,
            offline=offline, **values,
        )  # fmt: skip
    if json_:
        as_json({"run": str(result.path), **result.searched.summary})
    else:
        _show(result)


def _show(result: SearchResult) -> None:
    runs = {"searched": result.searched.summary, "unsearched": result.unsearched.summary}
    names, rows = list(result.searched.metrics), []
    for part in runs["searched"]["results"]:
        for name, summary in runs.items():
            metrics = summary["results"][part]
            cells = [f"{metrics[key]:.4g}" for key in names]
            rows.append((part, name, *cells, str(summary["n_parameters"]), f"{summary['seconds']:.0f} s"))
    summary = result.searched.summary
    table(f"{summary['model']} on {summary['data']}", ["part", "network", *names, "parameters", "training"], rows)
    table("operations found", ["layer", "what it is"], list(result.operations.items()))
    typer.echo(f"run folder: {result.path}, {count(summary['epochs'], 'epoch')}")
    for picture in [*summary["pictures"], *summary["operation_pictures"]]:
        typer.echo(f"  {result.path / picture}")
