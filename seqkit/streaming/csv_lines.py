"""Samples and answers as the rows of a table in CSV."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from seqkit.streaming.lines import Fields, LineFormat, Sample, in_range, seconds, shown

__all__ = ["COLUMNS", "CsvLines"]

COLUMNS: Mapping[str, str] = {"series": "stream", "time": "time", "target": "unread"}
"""What columns of these names are, where no training says otherwise."""

_MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})


class CsvLines(LineFormat):
    r"""One row a line, below a header; a row of answers for each, with a column `error`.

    Between the cells are commas, or semicolons, tabs or bars where the header has them; answers have commas.
    A column `stream` names the stream, and `columns` says of others that they name it, hold the time, or are not read,
    so that the table of a training can be given. All other columns are the channels: by name where the model knows
    names, and then columns that are none are not read; else in their order.

    Args:
        header: First line.
        fields: What the model takes and gives.
        columns: What columns are by name, in any case of letters: "stream", "time" or "unread".

    Raises:
        ValueError: a column is missing or there twice, or there are more columns than channels without names.

    Warns:
        UserWarning: times are not read, as the model has no notion of time, or columns that are no channels.

    Example:
        >>> form = CsvLines("stream,time,x", Fields(1, 1e38, channels=("x",), values=("0",)))
        >>> form.header
        'stream,prediction,error\n'
        >>> form.sample("a,0.5,2")
        Sample(stream='a', rows=[[2.0]], times=[0.5], block=False)
        >>> form.answer("a", 1.5, [])
        'a,1.5,\n'
    """

    def __init__(self, header: str, fields: Fields, columns: Mapping[str, str] = COLUMNS) -> None:
        super().__init__(fields)
        self._delimiter = max(",;\t|", key=header.count)  # as in tables to train on; a comma where there is none
        given = [cell.strip() for cell in _cells(header, self._delimiter)]
        twice = [name for name in given if given.count(name) > 1]
        if twice:
            raise ValueError(f"the header has the column {shown(twice[0])} twice; name each column once")
        roles = {name: _role(name, fields, columns) for name in given}
        names = _at_most_one("stream", roles)
        times = _at_most_one("time", roles)
        if times and fields.timeless:
            warnings.warn(
                f"{fields.timeless} has no notion of time, so the column `{times[0]}` is not read", stacklevel=2
            )
        self._width = len(given)
        self._stream = given.index(names[0]) if names else None
        self._time = given.index(times[0]) if times and not fields.timeless else None
        self._places = _places([name for name in given if roles[name] == "channel"], given, fields)
        named = fields.values not in ((), ("0",))
        answers = [f"prediction {name}" for name in fields.values] if named else ["prediction"]
        shares = [f"probability {label}" for label in fields.labels]
        self._n_answers = len(answers) + len(shares)
        self.header = _line([*names, *answers, *shares, "error"])

    def sample(self, line: str) -> Sample:
        """What a row says."""
        if not line or line.isspace():
            raise ValueError(f"the line is empty; write a row of {self._width} cells")
        cells = _cells(line, self._delimiter)
        if len(cells) != self._width:
            raise ValueError(f"the row must have {self._width} cells, as the header, got {len(cells)}")
        stream = None if self._stream is None else cells[self._stream]
        if stream == "":
            raise ValueError("the row has no name of its stream; fill it, or leave out the column")
        commas = self._delimiter != ","
        row = in_range([_number(cells[place], commas) for place in self._places], self.fields.largest)
        return Sample(stream, [row], None if self._time is None else _times(cells[self._time], commas), False)

    def answer(self, stream: str | int | None, prediction: Any, probabilities: Sequence[float]) -> str:
        """A row with the prediction, the probabilities and an empty error."""
        given = prediction if isinstance(prediction, list) else [prediction]
        named = [] if self._stream is None else [stream]
        return _line([*named, *_flat(given), *probabilities, ""])

    def error(self, number: int, words: str) -> str:
        """A row with the error alone."""
        empty = [""] * (self._n_answers + (self._stream is not None))
        return _line([*empty, f"line {number}: {words}"])


def _role(name: str, fields: Fields, columns: Mapping[str, str]) -> str:
    """What a column is."""
    if name in fields.channels:
        return "channel"
    if name == "stream":
        return "stream"
    return columns.get(name) or columns.get(name.lower(), "channel")


def _at_most_one(role: str, roles: Mapping[str, str]) -> list[str]:
    """The column of that role, if there is one."""
    names = [name for name, one in roles.items() if one == role]
    if role == "time" and "time" in names:
        return ["time"]
    if len(names) > 1:
        raise ValueError(f"the header has both `{names[0]}` and `{names[1]}` for the {role}; leave one out")
    return names


def _places(given: list[str], columns: list[str], fields: Fields) -> list[int]:
    """Places of the channels among the columns."""
    known = fields.channels
    missing = [name for name in known if name not in given]
    if missing:
        raise ValueError(
            f"the header lacks the channel {missing[0]!r}; CSV begins with a line that names its columns, the channels "
            f"{', '.join(known)} and, if need be, stream and time"
        )
    others = [name for name in given if known and name not in known]
    if others:
        warnings.warn(f"not read, as the model has no such channel: {', '.join(map(shown, others))}", stacklevel=3)
    elif len(given) != fields.n_channels:
        raise ValueError(
            f"the header must name {fields.n_channels} channels beside stream and time, got {len(given)}; CSV begins "
            "with a line that names its columns"
        )
    return [columns.index(name) for name in known or given]


def _cells(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"this is no row of CSV: {error}; a row must end on its line") from error


def _number(cell: str, commas: bool) -> float:
    """The number of a cell, of which a comma may be the decimal point where it is nothing else."""
    try:
        if "_" not in cell:  # Python reads 1_000, tables do not
            return float(cell.replace(",", ".") if commas and "." not in cell else cell)
    except ValueError:
        pass
    if cell.strip().lower() in _MISSING:
        return math.nan
    raise ValueError(f"`values` must be numbers, or empty where one is missing, got {shown(cell)}")


def _times(cell: str, commas: bool) -> list[float]:
    if cell.strip().lower() in _MISSING:
        raise ValueError("the row has no time; fill it, or leave out the column")
    try:
        given: str | float = float(cell.replace(",", ".") if commas else cell)
    except ValueError:
        given = cell
    return [seconds(given)]


def _flat(given: list[Any]) -> list[Any]:
    return [leaf for one in given for leaf in (_flat(one) if isinstance(one, list) else [one])]


def _line(cells: Sequence[Any]) -> str:
    return ",".join(_quoted(str(cell)) for cell in cells) + "\n"


def _quoted(cell: str) -> str:
    if any(letter in cell for letter in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
