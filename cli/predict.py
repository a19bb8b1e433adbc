"""`seqkit predict`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.options import Device, Import, RecordedRate, Run
from seqkit.cli.show import count, note

__all__ = ["predict"]


def predict(
    run: Run,
    data: Annotated[Path, typer.Argument(metavar="INPUT", help="File or folder in the layout of the run's data.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="CSV or JSON file to write; CSV on standard output if left out."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Part of the input, where its layout has parts: train, val, test or all.")
    ] = "all",
    sample_rate: RecordedRate = None,
    device: Device = "auto",
    import_: Import = None,
) -> None:
    """Predict for new series and write a table: a row per series, or per sample for targets per sample."""
    from seqkit.runs.prediction import predict as run_prediction
    from seqkit.runs.prediction import write_rows

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        rows = run_prediction(run, data, output, split=split, sample_rate=sample_rate, device=device)
    for words in dict.fromkeys(str(warning.message) for warning in caught):
        note(words)
    if output is None:
        write_rows(rows, sys.stdout)
    else:
        typer.echo(f"{count(len(rows), 'prediction')} in {output}")
