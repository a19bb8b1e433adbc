"""`seqkit distill`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqkit.cli.options import Import
from seqkit.cli.show import as_json, count, note, table
from seqkit.cli.stopping import resumable

if TYPE_CHECKING:
    from seqkit.runs.result import TrainResult

__all__ = ["distill"]

RESUMED = ("out", "resume", "offline", "import_", "json_")
"""What may be said to a distillation that goes on."""


def distill(
    context: typer.Context,
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings key=value of the student; those of the teachers begin with teacher."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Name of a data set (`seqkit data list`) or path of your own; japanese_vowels if left out."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Name of a model, or folder of a finished run; several times for an ensemble."),
    ] = None,
    student: Annotated[str | None, typer.Option(help="Name of a model (`seqkit models`); s4d if left out.")] = None,
    method: Annotated[
        str, typer.Option(help="both, crossfit, plain, corrected (harmful, so only with --force) or labels.")
    ] = "both",
    folds: Annotated[int, typer.Option(help="Folds of the training part; each has teachers of its own.")] = 5,
    members: Annotated[int, typer.Option(help="Copies of each teacher for each fold, which differ in their seed.")] = 1,
    c: Annotated[
        str, typer.Option(help="Weight of the correction: a number, inf, or auto for the validation part's choice.")
    ] = "auto",
    loss: Annotated[str, typer.Option(help="cross_entropy, brier or logits.")] = "cross_entropy",
    temperature: Annotated[float, typer.Option(help="Temperature of the cross-entropy.")] = 1.0,
    steps: Annotated[str, typer.Option(help="Answers that learn: all (after every sample), last, or auto.")] = "auto",
    groups: Annotated[
        Path | None, typer.Option(help="CSV file with columns series and group: a group is never on both sides.")
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Also train the student on labels alone and on a teacher that saw them.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Allow corrections of a teacher that saw the labels.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file of the student's run.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/DATA-STUDENT-NUMBER if left out.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the distillation in --out with the next fold or epoch.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew in a folder that holds a run.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing; data that are not there are an error.")
    ] = False,
    import_: Import = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object on the last line.")
    ] = False,
) -> None:
    """Train a small model on what larger ones say of series that they did not see."""
    from seqkit.runs import parse_settings
    from seqkit.runs.distill_run import train_distilled

    values = parse_settings(settings or [])
    with resumable("continue with `seqkit distill --resume --out {}{}`"):
        if resume:
            changed = [name for name in context.params if name not in RESUMED and _typed(context, name)]
            if changed:
                raise ValueError(
                    "a resumed distillation keeps its own configuration; give nothing but --out, got "
                    + ", ".join(name if name == "settings" else f"--{name}" for name in changed)
                )
            result = train_distilled(out=out, resume=True, offline=offline)
        else:
            result = train_distilled(
                data,
                teacher or [],
                student or "s4d",
                method=method,
                folds=folds,
                members=members,
                c=_weight(c),
                loss=loss,
                temperature=temperature,
                steps=steps,
                compare=compare,
                force=force,
                groups=None if groups is None else _groups(groups),
                config=config,
                out=out,
                overwrite=overwrite,
                offline=offline,
                **values,
            )
    if json_:
        as_json({"run": str(result.path), **result.summary})
    else:
        _show(result)


def _typed(context: typer.Context, name: str) -> bool:
    """Whether a person gave an option, be it the value that it has anyway."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _weight(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"`c` must be a number, 0 or above, inf, or auto, got {text!r}") from None


def _groups(path: Path) -> dict[str, str]:
    """Group of each series from a table."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"series", "group"} <= rows[0].keys():
        raise ValueError(f"{path} must have columns series and group and at least one row; add them")
    return {row["series"]: row["group"] for row in rows}


def _show(result: TrainResult) -> None:
    summary = result.summary
    report: dict[str, Any] = summary["distillation"]
    for words in summary.get("notes", []):
        note(words)
    names = list(report["student"])
    rows = [
        (f"{report['method']} (this run)" if key == "student" else key, *(f"{report[key][name]:.4g}" for name in names))
        for key in ("student", "plain", "labels only")
        if key in report
    ]
    table(f"{summary['model']} taught on {summary['data']}, {report['split']} part", ["student", *names], rows)
    if "teacher" in report:
        told = report["teacher"]
        typer.echo(
            f"teacher: {told['measure']} {told['seen']:.4g} on what it was trained on, {told['unseen']:.4g} on what it "
            f"labels; overfit {report['overfit']:.3g}"
        )
    typer.echo(
        f"c = {report['c']}; {summary['n_parameters']} parameters, {count(summary['epochs'], 'epoch')}; "
        f"run folder: {result.path}"
    )
