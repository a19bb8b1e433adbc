"""Long tables, one row per sample: CSV and Parquet into series."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqkit.checks import missing_extra, nearest
from seqkit.datasets.series import Array, SeriesSet
from seqkit.datasets.timing import sampling

__all__ = ["Columns", "few_whole_numbers", "read_columns", "series_of_columns"]

_MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what.

    Args:
        id: Column with the name of the series that a row belongs to.
        time: Column with the time of the row, seconds or dates; None for "time" where there is one.
        target: Columns with the target; None for "target" where there is one.
        channels: Columns with the samples; None for every other column of numbers.
    """

    id: str = "series"
    time: str | None = None
    target: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None


def read_columns(path: Path, text: Container[str] = ()) -> dict[str, Array]:
    """Columns of a CSV or Parquet file: float64 numbers, dates, or text.

    Args:
        path: File that ends in .csv or .parquet; a CSV file has a header line and commas.
        text: Columns to keep as text: the names 7 and 007 differ, the numbers do not.

    Raises:
        ValueError: the file is not such a table.
        ImportError: pyarrow is not installed and the file is Parquet.
    """
    return _parquet(path, text) if path.suffix == ".parquet" else _csv(path, text)


def series_of_columns(table: dict[str, Array], columns: Columns, origin: str, *, need_target: bool) -> SeriesSet:
    """Groups the rows of a table into series, each in the order of time or else of the rows.

    Args:
        table: Columns of equal length.
        columns: Which is what.
        origin: The file, to name in errors.
        need_target: Whether a missing target column is an error.

    Returns:
        Series in the order of their first rows. The target is one per series where it never changes within one, else
        one per sample; text and a few whole numbers are labels, other numbers are values.

    Raises:
        ValueError: a column is missing or holds the wrong kind of thing; the sentence names the nearest.

    Example:
        >>> table = {"series": np.array(["a", "a", "b"]), "x": np.array([1.0, 2.0, 3.0])}
        >>> series_of_columns(table, Columns(), "toy.csv", need_target=False).lengths.tolist()
        [2, 1]
    """
    ids = _column(table, columns.id, "series ids", "id", origin)
    time = columns.time or ("time" if "time" in table else None)
    targets = columns.target or ("target",)
    if need_target or all(name in table for name in targets):
        for name in targets:
            _column(table, name, "targets", "target", origin)
    else:
        targets = ()
    used = {columns.id, time, *(columns.target or ("target",))}
    channels = columns.channels or tuple(k for k, v in table.items() if k not in used and v.dtype.kind == "f")
    if columns.channels is None:
        _refuse_stray_words({name: column for name, column in table.items() if name not in used}, origin)
    if not channels:
        raise ValueError(f"{origin} has no column of numbers left to be a channel; its columns are {', '.join(table)}")
    for name in channels:
        if _column(table, name, "a channel", "channels", origin).dtype.kind != "f":
            raise ValueError(f"column {name!r} of {origin} is a channel and must hold numbers only")
    times = None if time is None else _seconds(_column(table, time, "times", "time", origin), time, origin)
    order, starts = _grouped(ids, times)
    names = [_text(ids[order[start]]) for start in starts]
    values = np.stack([table[name] for name in channels], axis=1)[order]
    timestamps, rate = None, None
    if times is not None:
        timestamps, rate = sampling(np.split(times[order], starts[1:]), names, origin)
    return SeriesSet(
        values=np.split(values, starts[1:]),
        target=_target([table[name][order] for name in targets], starts, names, origin),
        timestamps=timestamps,
        names=names,
        sample_rate=rate,
        channels=channels,
        origin=origin,
    )


def _refuse_stray_words(table: dict[str, Array], origin: str) -> None:
    """A column of numbers with a word in it is a mistake; silently it would not be a channel."""
    for name, column in table.items():
        if column.dtype.kind != "U":
            continue
        words = [k for k, text in enumerate(column[:1000]) if not _is_number(text)]
        if words and len(words) <= 0.1 * min(len(column), 1000):
            raise ValueError(
                f"column {name!r} of {origin} holds {str(column[words[0]])!r} in row {words[0] + 1} among numbers; "
                "correct it, or name the channels to use (channels=[...])"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.lower() in _MISSING
    return True


def few_whole_numbers(values: Array) -> bool:
    """Whether numbers look like the numbers of classes: whole, at most 20 different ones, each twice on average.

    Example:
        >>> few_whole_numbers(np.array([0, 1, 1, 0])), few_whole_numbers(np.array([61, 72, 80, 75]))
        (True, False)
    """
    distinct = np.unique(values)
    whole = bool(np.isfinite(distinct).all()) and bool((distinct == np.round(distinct)).all())
    return whole and len(distinct) <= min(20, len(values) / 2)


def _csv(path: Path, text: Container[str]) -> dict[str, Array]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            fields: list[str] = []  # of all rows in one list: a list for each row would cost twice the time
            for row in lines:
                if row and len(row) != len(header):
                    raise ValueError(f"line {lines.line_num} of {path} has {len(row)} fields, its header {len(header)}")
                fields.extend(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file of text in UTF-8 ({error})") from None
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns named {twice[0]!r}; rename one")
    if not fields:
        raise ValueError(f"{path} has no rows below its header")
    columns = {name: fields[k :: len(header)] for k, name in enumerate(header)}
    return {name: np.array(texts) if name in text else _parsed(texts) for name, texts in columns.items()}


def _parsed(texts: Sequence[str]) -> Array:
    """Numbers where all are numbers or missing, else text."""
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        pass
    try:
        numbers = ("nan" if text.strip().lower() in _MISSING else text for text in texts)
        return np.fromiter(map(float, numbers), np.float64, len(texts))
    except ValueError:
        return np.array([text.strip() for text in texts])


def _parquet(path: Path, text: Container[str]) -> dict[str, Array]:
    try:
        import pyarrow as arrow  # noqa: PLC0415 - optional: CSV needs no package
        import pyarrow.parquet as parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise missing_extra("pyarrow", "data", "Reading Parquet files") from None
    try:
        table = parquet.read_table(path)
    except arrow.ArrowException as error:
        raise ValueError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if len(table) == 0:
        raise ValueError(f"{path} has no rows")
    out: dict[str, Array] = {}
    for name in table.column_names:
        column: Array = np.asarray(table[name].to_numpy())
        if name in text:
            column = np.array([str(one) for one in table[name].to_pylist()])
        elif column.dtype.kind in "iub":
            column = column.astype(np.float64)
        elif column.dtype.kind == "O":
            column = np.array(["" if one is None else str(one) for one in column])
        out[name] = column.astype(np.float64) if column.dtype.kind == "f" else column
    return out


def _column(table: dict[str, Array], name: str, what: str, option: str, origin: str) -> Array:
    if name not in table:
        raise ValueError(f"{origin} has no column {name!r} for {what}; {nearest(name, table)} (option {option}=)")
    return table[name]


def _seconds(column: Array, name: str, origin: str) -> Array:
    if column.dtype.kind == "f":
        return column
    try:
        dates = column.astype("datetime64[ns]")
    except ValueError as error:
        raise ValueError(f"column {name!r} of {origin} must hold seconds or ISO 8601 dates ({error})") from None
    if np.isnat(dates).any():
        raise ValueError(f"column {name!r} of {origin} has an empty date; every row needs its time")
    seconds: Array = (dates - dates.min()) / np.timedelta64(1, "s")
    return seconds


def _grouped(ids: Array, times: Array | None) -> tuple[Array, Array]:
    """Order of the rows that puts each series together, and where in it each series starts."""
    seen: dict[Any, int] = {}
    group = np.array([seen.setdefault(one, len(seen)) for one in ids.tolist()])  # in the order of their first rows
    order = np.argsort(group, kind="stable") if times is None else np.lexsort((times, group))
    return order, np.flatnonzero(np.diff(group[order], prepend=-1))


def _target(columns: list[Array], starts: Array, names: list[str], origin: str) -> Any:
    if not columns:
        return None
    group = np.repeat(np.arange(len(starts)), np.diff([*starts, len(columns[0])]))
    for column in columns:
        empty = np.isnan(column) if column.dtype.kind == "f" else column == ""
        if empty.any():
            raise ValueError(
                f"a target of series {names[group[int(empty.argmax())]]!r} of {origin} is missing; fill it"
            )
    numbers = all(column.dtype.kind == "f" for column in columns)
    if len(columns) > 1 and not numbers:
        raise ValueError(f"{origin} has several target columns, of which one is text; several targets must be numbers")
    constant = all(bool((column == column[starts][group]).all()) for column in columns)
    rows = np.stack([column[starts] if constant else column for column in columns], axis=1)
    if not numbers or (len(columns) == 1 and few_whole_numbers(rows[:, 0])):
        labels = [_text(one) for one in rows[:, 0]]
        return labels if constant else np.split(np.array(labels), starts[1:])
    return rows if constant else np.split(rows, starts[1:])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)
