"""`seqkit evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.options import Device, Import, Json, Offline, RecordedRate, Run
from seqkit.cli.show import as_json, note, table

__all__ = ["evaluate"]


def evaluate(
    run: Run,
    data: Annotated[
        str | None,
        typer.Option(help="File or folder in the layout of the run's data, or a set's name; its own if left out."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test or all; test of the run's own data and all of a path, if left out."),
    ] = None,
    subsample: Annotated[int, typer.Option(help="Keep every K-th sample; the model is told the new rate.")] = 1,
    sample_rate: RecordedRate = None,
    hide_rate: Annotated[bool, typer.Option("--hide-rate", help="Do not tell the model the rate.")] = False,
    device: Device = "auto",
    offline: Offline = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Measure a finished run on a part of its data or on a file."""
    from seqkit.runs.evaluation import evaluate as run_evaluation

    result = run_evaluation(
        run,
        data,
        split=split,
        subsample=subsample,
        sample_rate=sample_rate,
        hide_rate=hide_rate,
        device=device,
        offline=offline,
    )
    for words in result.notes:
        note(words)
    if json_:
        as_json({**asdict(result), "notes": list(result.notes)})
        return
    title = f"{result.run} on {result.data}, {result.split}: {result.n_series} series"
    rows = [[f"{value:.4g}" for value in found.values()] for found in (result.metrics, *result.naive.values())]
    if not result.naive:
        table(title, list(result.metrics), rows)
        return
    names = [Path(result.run).name, *result.naive]
    table(title, ["", *result.metrics], [[name, *row] for name, row in zip(names, rows, strict=True)])
