"""`seqkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.options import Import, Run
from seqkit.cli.show import note

__all__ = ["export"]


def export(
    run: Run,
    kind: Annotated[str, typer.Option("--format", help="onnx, or torch for programs of torch.export.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make; RUN/onnx or RUN/torch if left out.")
    ] = None,
    sample_rate: Annotated[
        float | None, typer.Option(help="Samples per second (Hz) of the data that will come.")
    ] = None,
    import_: Import = None,
    fixed_step: Annotated[
        bool, typer.Option("--fixed-step", help="Leave the input `steps` out: a quicker step at one rate.")
    ] = False,
) -> None:
    """Write a model as programs that run without seqkit: one for a sample, one for a block, states in and out."""
    from seqkit.streaming.export import export_model

    folder = run / kind if output is None else output
    made = export_model(run, folder, format=kind, sample_rate=sample_rate, fixed_step=fixed_step)
    programs = made["programs"]
    told = any(value["name"] == "steps" for value in programs["step"]["inputs"])
    note("the step is told the time since the sample before" if told else "samples are taken as evenly spaced")
    files = ", ".join(program["file"] for program in programs.values())
    typer.echo(f"{files} in {folder}; they differ from the model's own stream by {made['error']:.1e}")
