"""What `seqkit stream` and `seqkit serve` are given: the folder of a run, or a file of an estimator."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from seqkit.cli.show import note

__all__ = ["columns_of", "loaded"]


def loaded(path: Path, trust: bool) -> Any:
    """The model of a run, or a fitted estimator, which is loaded only when trusted.

    Raises:
        ValueError: a file that is no estimator's, or an estimator without `trust`.
    """
    from seqkit.models import load_model

    if path.is_file():
        return _estimator(path, trust)
    model = load_model(path)
    _note_windows(path)
    return model


def columns_of(run: Path) -> dict[str, str]:
    """What the columns of the table of a run's training are, by name: "stream", "time" or "unread".

    Returns:
        Nothing for what is no run, or was not trained on files of its own.
    """
    from seqkit.datasets.folder import Folder
    from seqkit.datasets.roles import TIMES
    from seqkit.runs import RunConfig
    from seqkit.runs.source import build_source

    file = run / "config.yaml"
    source = build_source(RunConfig.from_file(file).data) if file.is_file() else None
    if not isinstance(source, Folder):
        return {}
    columns = source.columns
    times = TIMES if columns.time is None else (columns.time,)
    time = "unread" if columns.gaps == "ignore" else "time"
    return {columns.id: "stream", **dict.fromkeys(times, time), **dict.fromkeys(columns.targets, "unread")}


def _estimator(path: Path, trust: bool) -> Any:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is neither the folder of a run nor a file that an estimator's save() wrote")
    if not trust:
        raise ValueError(
            f"{path} is a saved estimator, and loading it runs code that it holds; add --trust if it is your own"
        )
    from seqkit.estimators import load_estimator

    return load_estimator(path)


def _note_windows(run: Path) -> None:
    """Says where a stream differs from `seqkit predict`."""
    from seqkit.runs import RunConfig

    file = run / "config.yaml"
    if file.is_file() and "horizon" in RunConfig.from_file(file).data.options:
        note("this run forecasts from windows; a stream reads all samples since its first, as one long window")
