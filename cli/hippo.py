"""`seqkit hippo show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.options import Import, Json
from seqkit.cli.show import as_json, count, table

__all__ = ["app"]

app = typer.Typer(help="Look at what HiPPO memories keep of a series.", no_args_is_help=True)


@app.callback()
def hippo() -> None:
    """Look at what HiPPO memories keep of a series."""


@app.command("show")
def show(
    data: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV, Parquet, NPZ, .ts or WAV file, or the name of a data set.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="PNG to write; NAME.hippo.png in the working folder if left out."),
    ] = None,
    order: Annotated[
        list[int] | None,
        typer.Option(help="Coefficients of the memory; may be given several times, 8, 32 and 128 if left out."),
    ] = None,
    measure: Annotated[str, typer.Option(help="legs, legt, lagt or fourier.")] = "legs",
    window: Annotated[
        float | None,
        typer.Option(
            help="Length of the memory in seconds, or samples where the file has no times; not for legs. "
            "A quarter of the series if left out, for lagt a twentieth."
        ),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="For legs: midpoint (default), reciprocal or exact.")] = None,
    discretization: Annotated[
        str | None, typer.Option(help="For the others: zero_order_hold (default), bilinear or backward_euler.")
    ] = None,
    series: Annotated[str | None, typer.Option(help="Name or number of the series; the first if left out.")] = None,
    channel: Annotated[str | None, typer.Option(help="Name or number of the channel; the first if left out.")] = None,
    start: Annotated[float, typer.Option(help="Seconds (or samples) into the series at which to begin.")] = 0.0,
    stop: Annotated[
        float | None, typer.Option(help="Seconds (or samples) at which to stop; the end if left out.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column of a table with times; `time` if left out.")] = None,
    sample_rate: Annotated[
        float | None, typer.Option(help="Samples per second (Hz), where the file does not say.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over a file that this command did not draw.")
    ] = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Draw a series, what memories of several orders read back at its end, and how they weigh the past."""
    from seqkit.runs.memory import show_memory

    shown = show_memory(
        data, out, orders=order or (8, 32, 128), measure=measure, window=window, rule=rule,
        discretization=discretization, series=series, channel=channel, start=start, stop=stop, time=time,
        sample_rate=sample_rate, overwrite=overwrite,
    )  # fmt: skip
    facts = shown.to_dict()
    if json_:
        as_json(facts)
        return
    window_words = "" if facts["window"] is None else f", window {facts['window']:.6g} {facts['unit']}"
    table(
        f"series {facts['series']}, channel {facts['channel']}: {count(facts['n_samples'], 'sample')}, "
        f"{facts['elapsed']:.6g} {facts['unit']}; {measure}{window_words}",
        ["order", "error", "of standard deviation"],
        [(str(one["order"]), f"{one['error']:.4g}", _percent(one["relative_error"])) for one in facts["orders"]],
    )
    typer.echo(shown.path)


def _percent(part: float | None) -> str:
    return "the series is constant" if part is None else f"{100 * part:.3g} %"
