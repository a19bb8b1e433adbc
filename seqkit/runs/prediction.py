"""Predictions of a finished run for new series, as a table."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np

from seqkit.checks import check_choice, check_path, check_positive
from seqkit.datasets.batching import loader
from seqkit.datasets.frames import frame_series
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.source import PARTS
from seqkit.files import write_whole
from seqkit.models import SequenceModel, load_model
from seqkit.runs.folders import config_of
from seqkit.runs.framing import rate_of_frames
from seqkit.runs.inference import SPLITS, new_gaps, run_model, told_rate
from seqkit.runs.source import build_source
from seqkit.tasks.run_folder import RunFolder

__all__ = ["predict", "write_predictions", "write_rows"]

_OF_A_RUN = ("metrics.csv", "model.json", "summary.json", "parallel.json", "distill.json", "choice.json")


def predict(
    run: str | Path,
    data: str | Path,
    output: str | Path | None = None,
    *,
    split: str = "all",
    sample_rate: float | None = None,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Predicts for every series of a file: the same as `seqkit predict`.

    Args:
        run: Run folder.
        data: File or folder in the layout of the data that the run was trained on; targets are not needed.
        output: CSV or JSON file to write; None writes nothing.
        split: Part of the file, where its layout has parts.
        sample_rate: Samples per second at which the data were recorded.
        device: "auto", "cpu" or "cuda".

    Returns:
        One row per series: "series", "prediction", and "probability LABEL" for each class or "prediction i" for each
        of several values, by name where they have names: forecasts have "prediction price+1" for the next value of
        price after the end of the series. Sequence targets give one row per sample, with "sample".

    Raises:
        FileNotFoundError: no such run or file.
        ValueError: series that do not fit the model (also frames of another sample rate), or an output of unknown kind.
        FileExistsError: the output is a folder, the input itself, or a file of the run.

    Warns:
        UserWarning: the model has no notion of time and could not be told another sample rate, or values are missing as
            none was in training.

    Example:
        >>> import seqkit
        >>> rows = seqkit.predict("runs/vowels", "new.ts", "answers.csv")  # doctest: +SKIP
    """
    check_choice("split", split, SPLITS)
    check_path(
        "data", data, "save arrays by numpy.savez(path, X=...), or give seqkit.load(run).predict a tensor (B, L, C)"
    )
    if sample_rate is not None:
        check_positive("sample_rate", sample_rate)
    if output is not None:
        _check_output(Path(output), Path(data), Path(run))
    folder = RunFolder(run)
    model = load_model(folder.path)
    config = config_of(folder)
    if not Path(data).exists():
        raise FileNotFoundError(f"there is no file or folder {data} to predict for")
    source = build_source(config.data)
    series = source.to_predict(split if split in PARTS else "test", source.read_inputs(Path(data), split))
    series = frame_series(series, config.data.frame)
    sample_rate = rate_of_frames(model, series, config.data.frame, sample_rate)
    rate, notes = told_rate(model, series, sample_rate=sample_rate)
    for note in (*notes, *new_gaps(model, series)):
        warnings.warn(note, stacklevel=2)
    batches = loader(series, model.info, batch_size=config.data.batch_size, with_target=False)
    rows = _rows(model, series, run_model(model, batches, sample_rate=rate, device=device).scores.numpy())
    if output is not None:
        write_predictions(rows, Path(output))
    return rows


def write_predictions(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes rows as CSV or JSON, whole or not at all.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answers.csv"
        >>> write_predictions([{"series": "0", "prediction": "a"}], path)
        >>> path.read_text().splitlines()
        ['series,prediction', '0,a']
    """

    def write(part: Path) -> None:
        if path.suffix == ".json":
            part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            return
        with part.open("w", newline="", encoding="utf-8") as file:
            write_rows(rows, file)

    write_whole(path, write)


def write_rows(rows: list[dict[str, Any]], file: IO[str]) -> None:
    """Writes rows as CSV to an open file, such as standard output.

    Example:
        >>> import sys
        >>> write_rows([{"series": "0", "prediction": "a"}], sys.stdout)
        series,prediction
        0,a
    """
    table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)


def _check_output(output: Path, data: Path, run: Path) -> None:
    if output.suffix not in (".csv", ".json"):
        raise ValueError(f"`output` must end in .csv or .json, got {output}")
    if output.is_dir():
        raise FileExistsError(f"{output} is a folder; name a file for the predictions")
    place = next(place for place in output.absolute().parents if place.exists())
    if not place.is_dir():
        raise FileExistsError(f"{place} is a file, so {output} cannot be written; name another file")
    if output.exists() and output.resolve() == data.resolve():
        raise FileExistsError(f"{output} is the input itself; name another file for the predictions")
    if output.name in _OF_A_RUN and output.resolve().parent == run.resolve():
        raise FileExistsError(f"{output} is a file of the run itself; name another file for the predictions")


def _rows(model: SequenceModel, series: SeriesSet, scores: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    if model.pool is None:
        places = [
            (name, k) for name, values in zip(series.names, series.values, strict=True) for k in range(len(values))
        ]
        heads: list[dict[str, Any]] = [{"series": name, "sample": k} for name, k in places]
    else:
        heads = [{"series": name} for name in series.names]
    return [{**head, **_answer(model, score)} for head, score in zip(heads, scores, strict=True)]


def _answer(model: SequenceModel, score: np.ndarray[Any, Any]) -> dict[str, Any]:
    classes = model.info.classes
    if not classes:
        if model.info.targets:
            return {f"prediction {name}": float(value) for name, value in zip(model.info.targets, score, strict=True)}
        if len(score) == 1:
            return {"prediction": float(score[0])}
        return {f"prediction {i}": float(value) for i, value in enumerate(score)}
    exponents = np.exp(score - score.max())
    shares = exponents / exponents.sum()
    probabilities = {f"probability {label}": round(float(p), 6) for label, p in zip(classes, shares, strict=True)}
    return {"prediction": classes[int(score.argmax())], **probabilities}
