"""Arguments and options that several commands take, each worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.importing import import_all

__all__ = [
    "Config",
    "Data",
    "Device",
    "Dtype",
    "Import",
    "Json",
    "Offline",
    "Overwrite",
    "RecordedRate",
    "Run",
    "RunFolder",
    "StreamDevice",
    "Streamed",
    "Trust",
]

Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Streamed = Annotated[Path, typer.Argument(help="Folder of a finished run, or a file that an estimator's save() wrote.")]

Data = Annotated[
    str | None,
    typer.Option(help="Name of a data set (`seqkit data list`) or path of your own; japanese_vowels if left out."),
]
Config = Annotated[Path | None, typer.Option(help="YAML file with sections data, model and training.")]
RunFolder = Annotated[Path | None, typer.Option(help="Run folder; runs/DATA-MODEL-NUMBER if left out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew in a folder that holds a run.")]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing; data that are not there are an error.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on the last line.")]

Import = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="FILE.py|MODULE",
        callback=import_all,  # so that all is known when the command begins, which does nothing else with it
        help="Code of your own that registers models, mixers, poolings or data sets; may be given several times.",
    ),
]

RecordedRate = Annotated[float | None, typer.Option(help="Samples per second (Hz) at which the data were recorded.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
StreamDevice = Annotated[str, typer.Option(help="cpu or cuda.")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load an estimator's file: unpickling it runs code that it holds.")
]
