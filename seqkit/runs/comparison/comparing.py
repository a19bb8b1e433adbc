"""The comparison itself: every entry trained, or gone on with, or read back, and the report kept up to date."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from seqkit.checks import check_positive
from seqkit.datasets.module import SeriesDataModule
from seqkit.files import write_whole
from seqkit.models import load_model
from seqkit.runs.comparison.budget import epochs_within, parse_duration
from seqkit.runs.comparison.costs import predict_ms, step_us
from seqkit.runs.comparison.matching import width_for
from seqkit.runs.comparison.plan import Entry, plan
from seqkit.runs.comparison.record import Record, Request
from seqkit.runs.comparison.report import write_report
from seqkit.runs.comparison.row import Row, Summary, summaries
from seqkit.runs.comparison.running import run_training
from seqkit.runs.data import build_data_module, keep_windows
from seqkit.runs.holding import held
from seqkit.runs.result import TrainResult, read_result
from seqkit.runs.steps import fit_step_sizes
from seqkit.tasks.progress import words_for_seconds
from seqkit.tasks.run_folder import RunFolder

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Args:
        path: Its folder: comparison.json, rows.csv, table.md, comparison.png, and the runs.
        rows: One row a training.

    Example:
        >>> rows = (Row("digits", "gru", 0, "accuracy", 0.9), Row("digits", "s4d", 0, "accuracy", 0.95))
        >>> Comparison(Path("comparisons/digits"), rows).summaries[0].model
        's4d'
    """

    path: Path
    rows: tuple[Row, ...]

    @property
    def summaries(self) -> list[Summary]:
        """One summary for each data set and model, the best first."""
        return summaries(self.rows)


def compare(
    data: str | Path | Sequence[str | Path],
    models: str | Sequence[str] = "all",
    *,
    seeds: int = 1,
    budget: str | float | None = None,
    parameters: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    offline: bool = False,
    progress: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Comparison:
    """Trains several models on several data sets under the same rules: the same as `seqkit compare`.

    Each training is a run of its own in a process of its own, with the data set's recipe, and is measured on the
    held-out part. The same call again goes on where it was stopped, trains nothing twice, and may name more data
    sets, models or seeds.

    Args:
        data: Data sets, by name or path.
        models: Models by name; "all" for every one but those of a paper's size.
        seeds: Number of seeds, counted from 0.
        budget: Time for one training, in seconds or as "10m": a model that is too slow for its epochs gets as many as
            fit, measured once, with the whole course of the learning rate over them. None for all epochs.
        parameters: Number of parameters that each model's width is chosen for; None for the recipe's width.
        out: Folder; `comparisons/DATA` if None.
        overwrite: Start anew in a folder that holds another comparison.
        offline: Fetch nothing.
        progress: Whether to show progress on standard error.
        settings: Values by key for every model that has the key, or for one, as in "s4d.order".

    Returns:
        All rows. A training that fails has a row that says why, and is tried again next time; the others go on.

    Raises:
        FileExistsError: the folder holds a comparison with other settings, or something else, or another process
            writes to it.
        FileNotFoundError: no such data.
        KeyboardInterrupt: the user stopped it; its argument is the folder.
        ValueError: unknown names or keys, or values out of range.

    Example:
        >>> import seqkit
        >>> found = seqkit.compare("japanese_vowels", ["s4d", "gru"], seeds=3, budget="2m")  # doctest: +SKIP
        >>> found.summaries[0].model  # doctest: +SKIP
        's4d'
    """
    sets = [str(one) for one in ([data] if isinstance(data, (str, Path)) else data)]
    seconds = parse_duration(budget) if isinstance(budget, str) else budget
    if seconds is not None:
        check_positive("budget", seconds)
    entries = plan(sets, [models] if isinstance(models, str) else models, seeds, settings)
    folder = Path("comparisons", "-".join(Path(one).stem for one in sets)) if out is None else Path(out)
    with held(folder):
        record = _open(folder, Request(dict(settings or {}), seconds, parameters), overwrite)
        console = Console(stderr=True) if progress else None
        rows: list[Row] = []
        module: SeriesDataModule | None = None
        at = ""
        try:
            for number, entry in enumerate(entries):
                if entry.data != at:
                    module, at = build_data_module(entry.config, offline=offline), entry.data
                assert module is not None
                entry = _measured(entry, module, record, console)
                _say(console, f"[{number + 1}/{len(entries)}] {entry.model} on {entry.data}, seed {entry.config.seed}")
                rows.append(_row(entry, module, folder, offline=offline, quiet=not progress))
                _say(console, _result_words(rows[-1]))
                write_report(folder, rows)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(str(folder)) from stop
        return Comparison(folder, tuple(rows))


def _open(folder: Path, request: Request, overwrite: bool) -> Record:
    path = folder / "comparison.json"
    if folder.is_dir() and not path.is_file() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds files that no comparison wrote; name another folder")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a folder")
    if overwrite and path.is_file():
        shutil.rmtree(folder / "runs", ignore_errors=True)
        path.unlink()
    record = Record.open(path, request)
    record.write()
    return record


def _measured(entry: Entry, module: SeriesDataModule, record: Record, console: Console | None) -> Entry:
    """The entry with its width and epochs, measured where that has not been done."""
    key, request = f"{entry.data} {entry.model}", record.request
    resolved = fit_step_sizes(keep_windows(entry.config, module), module)
    if request.parameters is not None and key not in record.widths:
        record.widths[key] = width_for(resolved, module, request.parameters)
        record.write()
    resolved = record.apply(Entry(entry.data, resolved)).config
    if request.budget is not None and key not in record.epochs:
        record.epochs[key] = epochs_within(resolved, module, request.budget)
        record.write()
        wanted = entry.config.training.epochs
        if record.epochs[key] < wanted:
            allowed = f"{record.epochs[key]} of {wanted} epochs fit {words_for_seconds(request.budget)}"
            _say(console, f"{entry.model} on {entry.data}: {allowed}")
    return record.apply(entry)


def _row(entry: Entry, module: SeriesDataModule, place: Path, *, offline: bool, quiet: bool) -> Row:
    """Trains the entry unless that is done, and measures what the model costs in use, once."""
    folder = RunFolder(place / entry.place)
    costs = folder.path / "costs.json"
    if not folder.is_finished:
        config = place / "configs" / f"{'-'.join(entry.place.parts[1:])}.yaml"
        text = yaml.safe_dump(entry.config.to_dict(), sort_keys=False)
        write_whole(config, lambda part: part.write_text(text, encoding="utf-8"))
        costs.unlink(missing_ok=True)
        error = run_training(config, folder, offline=offline, quiet=quiet)
        if error is not None:
            return Row(entry.data, entry.model, entry.config.seed, note=error)
    result = read_result(folder)
    if costs.is_file():
        return Row.from_dict(json.loads(costs.read_text(encoding="utf-8")))
    row = _costs(_result_row(entry, result), entry, result, module)
    words = json.dumps(row.to_dict(), indent=2) + "\n"
    write_whole(costs, lambda part: part.write_text(words, encoding="utf-8"))
    return row


def _result_row(entry: Entry, result: TrainResult) -> Row:
    summary = result.summary
    metric = "accuracy" if "accuracy" in result.metrics else "rmse"
    peaks = summary.get("peak_memory_mib", {})
    return Row(
        data=entry.data,
        model=entry.model,
        seed=entry.config.seed,
        metric=metric,
        value=result.metrics[metric],
        loss=result.metrics["loss"],
        epochs=summary["epochs"],
        n_parameters=summary["n_parameters"],
        train_seconds=summary["seconds"],
        memory_mib=peaks.get("cuda", peaks.get("process", math.nan)),
    )


def _costs(row: Row, entry: Entry, result: TrainResult, module: SeriesDataModule) -> Row:
    model, data, training = load_model(result.path), entry.config.data, entry.config.training
    each = predict_ms(model, module.sets[result.split], batch_size=data.batch_size, device=training.device)
    try:
        return replace(row, predict_ms=each, step_us=step_us(model))
    except ValueError as error:
        return replace(row, predict_ms=each, note=f"does not stream: {error}")


def _result_words(row: Row) -> str:
    if row.failed:
        return f"  failed: {row.note}"
    return f"  {row.metric} {row.value:.4g} after {words_for_seconds(row.train_seconds)}"


def _say(console: Console | None, words: str) -> None:
    if console is not None:
        console.print(words, highlight=False, markup=False, soft_wrap=True)
