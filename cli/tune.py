"""`seqkit tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqkit.cli.importing import again
from seqkit.cli.options import Data, Import, Json, Offline
from seqkit.cli.show import as_json, count, table
from seqkit.cli.stopping import resumable

__all__ = ["tune"]


def tune(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Ranges and choices (learning_rate=1e-4..1e-2 d_model=32,64) and fixed key=value."),
    ] = None,
    data: Data = None,
    model: Annotated[
        str | None, typer.Option(help="Name of a model; the data set's recipe chooses if left out.")
    ] = None,
    time_limit: Annotated[str | None, typer.Option("--time", help="Time of this call, such as 30m or 2h.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trainings in all, earlier calls included.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; tuning/DATA-MODEL if left out.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew in a folder that holds another search.")
    ] = False,
    offline: Offline = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Search for the settings with the least validation loss; the same command again goes on with it."""
    from seqkit.runs.tuning.space import parse_space
    from seqkit.runs.tuning.tuning import tune as run_search

    space, fixed = parse_space(settings or [])
    with resumable("the same command goes on with {}"):
        found = run_search(
            data,
            model,
            space=space or None,
            trials=trials,
            time_limit=time_limit,
            out=out,
            overwrite=overwrite,
            offline=offline,
            settings=fixed,
        )
    result = found.result
    if json_:
        as_json(
            {
                "search": str(found.path),
                "best": found.best,
                "loss": found.loss,
                "trials": found.trials,
                "run": str(found.run),
                "metrics": result.metrics,
            }
        )
        return
    table(
        f"best of {count(found.trials, 'trial')}: validation loss {found.loss:.4g}",
        ["setting", "value"],
        [[key, f"{value:.4g}" if isinstance(value, float) else str(value)] for key, value in found.best.items()],
    )
    metrics = ", ".join(f"{key} {value:.4g}" for key, value in result.metrics.items())
    typer.echo(f"its training on the {result.split} part, which the search did not look at: {metrics}")
    typer.echo(f"train it again: seqkit train --config {found.path / 'best.yaml'}{again()}")
