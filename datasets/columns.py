"""Columns of CSV and Parquet files: numbers, dates or text."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np

from seqkit.checks import missing_extra
from seqkit.datasets.rows import Array

__all__ = ["is_number", "odd_number", "read_columns"]

_MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
_ODD_NUMBER = re.compile(r"[+-]?\d[\d.\s]*,[\d.,\s]*\d")  # 1,5 or 1.234,5 or 1,234.5, which float() does not take


def read_columns(path: Path, text: Container[str] = ()) -> dict[str, Array]:
    """Columns of a CSV or Parquet file: float64 numbers, dates, or text.

    Args:
        path: File that ends in .csv or .parquet. A CSV file has a header line, with commas, semicolons, tabs or bars
            between the columns; numbers may have decimal commas where the columns are not apart by commas.
        text: Columns to keep as text: the names 7 and 007 differ, the numbers do not.

    Raises:
        ValueError: the file is not such a table.
        ImportError: pyarrow is not installed and the file is Parquet.
    """
    return _parquet(path, text) if path.suffix == ".parquet" else _csv(path, text)


def is_number(text: str) -> bool:
    """Whether a field is a number or stands for a missing one.

    Example:
        >>> is_number("1e3"), is_number("NA"), is_number("1,5")
        (True, True, False)
    """
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in _MISSING
    return True


def odd_number(text: str) -> bool:
    """Whether a field looks like a number as spreadsheets of some countries write it.

    Example:
        >>> odd_number("1,5"), odd_number("1.234,5"), odd_number("walk, slow")
        (True, True, False)
    """
    return _ODD_NUMBER.fullmatch(text.strip()) is not None


def _csv(path: Path, text: Container[str]) -> dict[str, Array]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            lines = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(lines, [])]
            fields: list[str] = []  # of all rows in one list: a list for each row would cost twice the time
            for row in lines:
                if row and len(row) != len(header):
                    raise ValueError(f"line {lines.line_num} of {path} has {len(row)} fields, its header {len(header)}")
                fields.extend(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file of text in UTF-8 ({error}); save it anew as one") from None
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        mend = (
            "put a line with the columns' names before its first row"
            if twice[0] and is_number(twice[0])
            else "rename one"
        )
        raise ValueError(f"{path} has two columns named {twice[0]!r}; {mend}")
    if not fields:
        raise ValueError(f"{path} has no rows below its header")
    columns = {name: fields[k :: len(header)] for k, name in enumerate(header)}
    commas = delimiter != ","
    return {name: np.array(texts) if name in text else _parsed(texts, commas) for name, texts in columns.items()}


def _delimiter(header: str) -> str:
    """What is between the columns: the sign that is most often in the header, a comma where none is."""
    return max(",;\t|", key=header.count)


def _parsed(texts: Sequence[str], commas: bool) -> Array:
    """Numbers where all are numbers or missing, else text."""
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        pass
    try:
        numbers = ("nan" if text.strip().lower() in _MISSING else text for text in texts)
        return np.fromiter(map(float, numbers), np.float64, len(texts))
    except ValueError:
        pass
    if commas and not any("." in text for text in texts):
        pointed = [text.replace(",", ".") for text in texts]
        if all(is_number(text) for text in pointed):
            return _parsed(pointed, commas=False)
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
        column: Array = np.asarray(table[name].to_numpy())  # dates with a time zone come as UTC
        if name in text:
            column = np.array([str(one) for one in table[name].to_pylist()])
        elif column.dtype.kind in "iub":
            column = column.astype(np.float64)
        elif column.dtype.kind == "O":
            column = np.array(["" if one is None else str(one) for one in column])
        out[name] = column.astype(np.float64) if column.dtype.kind == "f" else column
    return out
