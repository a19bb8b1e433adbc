"""`seqkit train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqkit.cli.options import Config, Data, Import, Json, Offline, Overwrite, RunFolder
from seqkit.cli.show import as_json, count, note, table
from seqkit.cli.stopping import resumable

if TYPE_CHECKING:
    from seqkit.runs.estimate import Estimate
    from seqkit.runs.result import TrainResult

__all__ = ["train"]


def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings key=value, such as epochs=20 or model.order=32; --dry-run shows them all."),
    ] = None,
    data: Data = None,
    model: Annotated[
        str | None, typer.Option(help="Name of a model (`seqkit models`); the data set's recipe chooses if left out.")
    ] = None,
    config: Config = None,
    parallel: Annotated[
        str | None,
        typer.Option(
            help="Processes that train together: pipeline=2 (layers), ddp=2 (copies), both, or fsdp=2 (weights)."
        ),
    ] = None,
    compress: Annotated[
        str | None,
        typer.Option(help="Bits of their messages: fw=4,bw=8 between layers, dp=8 between copies."),
    ] = None,
    out: RunFolder = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, or the latest under runs/.")
    ] = False,
    overwrite: Overwrite = False,
    offline: Offline = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the configuration, the model's size and what it would take.")
    ] = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """Train a model and write a run folder with weights, metrics and pictures."""
    from seqkit.runs import RunConfig, parse_settings
    from seqkit.runs.training import train as run_training

    values = parse_settings(settings or [])
    if resume and (data or model or config or values or overwrite or dry_run or parallel or compress):
        raise ValueError("a resumed run keeps its own configuration; give nothing but --out")
    if dry_run:
        from seqkit.runs.estimate import estimate

        _show_estimate(estimate(RunConfig.build(data, model, settings=values, file=config), offline=offline), json_)
        return
    configuration = None if resume else RunConfig.build(data, model, settings=values, file=config)
    if compress is not None and parallel is None:
        raise ValueError("`compress` must come with `parallel`, got it alone; add --parallel pipeline=2")
    with resumable("continue with `seqkit train --resume --out {}{}`"):
        if parallel is not None or (resume and _is_parallel(out)):
            from seqkit.runs.parallel import train_parallel
            from seqkit.runs.parallel_config import ParallelConfig

            spread = None if parallel is None else ParallelConfig.parse(parallel, compress)
            result = train_parallel(configuration, spread, out=out, resume=resume, overwrite=overwrite, offline=offline)
        else:
            result = run_training(config=configuration, out=out, resume=resume, overwrite=overwrite, offline=offline)
    if json_:
        as_json({"run": str(result.path), **result.summary})
    else:
        _show_result(result)


def _is_parallel(out: Path | None) -> bool:
    """Whether the run to continue is one of several processes."""
    from seqkit.runs.folders import folder_to_resume

    return (folder_to_resume(out).path / "parallel.json").is_file()


def _show_result(result: TrainResult) -> None:
    summary = result.summary
    for words in summary.get("notes", []):
        note(words)
    names, rows = list(next(iter(summary["results"].values()))), []
    for part, metrics in summary["results"].items():
        measured = {
            part: metrics,
            **{f"{part}, {name}": one for name, one in summary.get("naive", {}).get(part, {}).items()},
        }
        rows += [(name, *(f"{found[key]:.4g}" for key in names)) for name, found in measured.items()]
    table(f"{summary['model']} on {summary['data']}", ["part", *names], rows)
    typer.echo(
        f"{summary['n_parameters']} parameters, {count(summary['epochs'], 'epoch')} in {summary['seconds']:.0f} s, "
        f"best epoch {summary['best_epoch']}"
    )
    typer.echo(f"run folder: {result.path}")
    for picture in summary["pictures"]:
        typer.echo(f"  {result.path / picture}")


def _show_estimate(estimate: Estimate, json_: bool) -> None:
    import yaml

    from seqkit.tasks.progress import words_for_seconds

    values: dict[str, Any] = estimate.to_dict()
    if json_:
        as_json(values)
        return
    typer.echo(yaml.safe_dump(values["config"], sort_keys=False).rstrip())
    typer.echo()
    rows = [
        ("data", estimate.data),
        ("parameters", str(estimate.n_parameters)),
        ("memory", f"{estimate.memory_mib:.0f} MiB beside the data"),
        ("steps", str(estimate.steps)),
        ("time", f"about {words_for_seconds(estimate.seconds)} on {estimate.device}"),
    ]
    table("dry run", ["", ""], rows)
