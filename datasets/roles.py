"""Which columns of a table are what: series ids, times, targets and channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqkit.checks import nearest
from seqkit.datasets.columns import is_number, odd_number
from seqkit.datasets.dates import looks_like_dates
from seqkit.datasets.rows import Array

__all__ = [
    "TIMES",
    "Columns",
    "column_of",
    "find_channels",
    "find_target",
    "find_time",
    "nothing_to_learn",
    "refuse_empty",
    "refuse_many",
]

TIMES = ("time", "timestamp", "datetime", "date", "ds")
_INDEX = ("", "Unnamed: 0", "__index_level_0__")  # what pandas writes for an index without a name


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what.

    Args:
        id: Column with the name of the series that a row belongs to.
        time: Column with the time of the row, seconds or dates; None for "time" where there is one, else timestamp,
            datetime, date or ds, else the only column of dates.
        target: Columns with the target; None for "target" where there is one, and () for none.
        channels: Columns with the samples; None for every other column of numbers.
        gaps: Where times are uneven: "keep" each sample's time, lay the samples on an even "grid" with missing values
            between them, draw a straight "line" from each to the next on such a grid, or "ignore" that and count the
            samples as even.
        rate: Points of that grid per second; what most steps say if None.
    """

    id: str = "series"
    time: str | None = None
    target: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    gaps: str = "keep"
    rate: float | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns with targets."""
        return ("target",) if self.target is None else self.target


def refuse_many(table: dict[str, Array], columns: Columns, origin: str) -> None:
    """Refuses to take all rows for one series where words may tell series apart: without times nothing would show it.

    Args:
        table: Columns of equal length, none of them with series ids.
        columns: Which is what, as far as it is known.
        origin: The file, for errors.

    Raises:
        ValueError: there is no column of times, and one of words that repeat.

    Example:
        >>> refuse_many({"x": np.array([1.0, 2.0])}, Columns(), "toy.csv")
    """
    if find_time(table, columns, origin) is not None or columns.channels is not None:
        return
    for name, column in table.items():
        if column.dtype.kind == "U" and len(np.unique(column)) < len(column) and not looks_like_dates(column):
            raise ValueError(
                f"{origin} has no column {columns.id!r} for series ids; is it {name!r}? (option id=) If all rows are "
                "of one series, name the channels (channels=[...])"
            )


def find_time(table: dict[str, Array], columns: Columns, origin: str) -> str | None:
    """Name of the column with times, or None where there is none.

    Raises:
        ValueError: there is no column of the name that was given.

    Example:
        >>> find_time({"date": np.array(["2026-03-01"]), "x": np.array([1.0])}, Columns(), "toy.csv")
        'date'
    """
    if columns.time is not None:
        column_of(table, columns.time, "times", "time", origin)
        return columns.time
    if "time" in table:
        return "time"
    used = {columns.id, *(columns.target or ()), *(columns.channels or ())}
    usual = [name for name in table if (name.lower() in TIMES or name in _INDEX) and name not in used]
    times = [name for name in usual if _holds_times(name, table[name])]
    if len(times) > 1:
        raise ValueError(f"{origin} has times in columns {' and '.join(map(repr, times))}; say which (option time=)")
    return (
        times[0]
        if times
        else _only_dates({name: one for name, one in table.items() if name not in used}, table, columns)
    )


def _only_dates(rest: dict[str, Array], table: dict[str, Array], columns: Columns) -> str | None:
    """The one column of dates whatever its name, unless a series has one of them twice, as with birthdays."""
    dates = [name for name, column in rest.items() if column.dtype.kind in "UM" and looks_like_dates(column)]
    if len(dates) != 1:
        return None
    ids = table.get(columns.id, np.zeros(len(rest[dates[0]])))
    pairs = set(zip(ids.tolist(), rest[dates[0]].tolist(), strict=True))
    return dates[0] if len(pairs) == len(ids) else None


def _holds_times(name: str, column: Array) -> bool:
    """Whether a column with a usual name holds times; a date in another format counts, to be refused by its row."""
    if column.dtype.kind == "U" and name not in _INDEX:
        return any(sign.isdigit() for sign in str(column[0]))
    return looks_like_dates(column) or name.lower() in ("time", "timestamp")


def find_target(table: dict[str, Array], columns: Columns, origin: str, *, need_target: bool) -> tuple[str, ...]:
    """Names of the columns with targets; none where they are missing and need not be there.

    Raises:
        ValueError: a column that is needed is missing; the sentence names the nearest.

    Example:
        >>> find_target({"x": np.array([1.0])}, Columns(), "toy.csv", need_target=False)
        ()
    """
    targets = columns.targets
    if not need_target and not all(name in table for name in targets):
        return ()
    for name in targets:
        column_of(table, name, "targets", "target", origin)
    return targets


def nothing_to_learn(table: dict[str, Array], columns: Columns, origin: str) -> bool:
    """Whether a table has no target, so that what can be learned from it is to forecast.

    Raises:
        ValueError: there is a column that may be the target under another name: words, or a number for each series.

    Example:
        >>> nothing_to_learn({"date": np.array(["2026-03-01"]), "x": np.array([1.0])}, Columns(), "toy.csv")
        True
    """
    if columns.target is not None or "target" in table:
        return False
    time = find_time(table, columns, origin)
    rest = [name for name in table if name not in {columns.id, time, *_INDEX, *(columns.channels or ())}]
    words = [name for name in rest if table[name].dtype.kind == "U"]
    alike = [name for name in rest if _one_for_each(table[name], table.get(columns.id))]
    if words or alike:
        hint = f"is it {' or '.join(map(repr, (words + alike)[:3]))}?"
        raise ValueError(
            f"{origin} has no column 'target' for targets; {hint} (option target=); to forecast the next values "
            "instead, give horizon="
        )
    return True


def _one_for_each(column: Array, ids: Array | None) -> bool:
    """Whether a column of numbers stays the same within each of several series, as targets do and samples do not."""
    if ids is None or column.dtype.kind != "f":
        return False
    order = np.argsort(ids, kind="stable")
    same = ids[order][1:] == ids[order][:-1]
    values = column[order]
    return bool(same.any() and not same.all() and (values[1:] == values[:-1])[same].all())


def find_channels(table: dict[str, Array], columns: Columns, used: set[str | None], origin: str) -> tuple[str, ...]:
    """Names of the columns with samples: those that were named, or all of numbers that are nothing else.

    Args:
        table: Columns of equal length.
        columns: Which is what, as far as it is known.
        used: Columns that are something else.
        origin: The file, for errors.

    Raises:
        ValueError: a channel that is missing or holds words, or no column of numbers is left.

    Example:
        >>> find_channels({"series": np.array(["a"]), "x": np.array([1.0])}, Columns(), {"series"}, "toy.csv")
        ('x',)
    """
    if columns.channels is not None:
        for name in columns.channels:
            if column_of(table, name, "a channel", "channels", origin).dtype.kind != "f":
                raise ValueError(f"column {name!r} of {origin} is a channel and must hold numbers only")
        return columns.channels
    left = {name: column for name, column in table.items() if name not in used and not _counts_rows(name, column)}
    _refuse_stray_words(left, origin)
    channels = tuple(name for name, column in left.items() if column.dtype.kind == "f")
    if not channels:
        raise ValueError(f"{origin} has no column of numbers left to be a channel; its columns are {', '.join(table)}")
    return channels


def refuse_empty(table: dict[str, Array], origin: str) -> None:
    """Refuses channels without any value.

    Args:
        table: The channels.
        origin: The file, for errors.

    Raises:
        ValueError: there is one.

    Example:
        >>> refuse_empty({"x": np.array([1.0, np.nan])}, "toy.csv")
    """
    for name, column in table.items():
        if np.isnan(column).all():
            raise ValueError(f"column {name!r} of {origin} is empty; remove it, or name the channels (channels=[...])")


def _counts_rows(name: str, column: Array) -> bool:
    """Whether a column is the count of rows that pandas writes before a table."""
    return name in _INDEX and column.dtype.kind == "f" and bool((column == np.arange(len(column))).all())


def _refuse_stray_words(table: dict[str, Array], origin: str) -> None:
    """A column of numbers with a word in it is a mistake; silently it would not be a channel."""
    for name, column in table.items():
        if column.dtype.kind != "U":
            continue
        some = column[:1000].tolist()
        words = [k for k, text in enumerate(some) if not is_number(text)]
        odd = [k for k in words if odd_number(some[k])]
        if len(odd) > len(some) / 2:
            raise ValueError(
                f"column {name!r} of {origin} holds {some[odd[0]]!r} in row {odd[0] + 1}; write numbers with a decimal "
                "point and without signs between thousands, or put semicolons between the columns"
            )
        if words and len(words) <= 0.1 * len(some):
            raise ValueError(
                f"column {name!r} of {origin} holds {some[words[0]]!r} in row {words[0] + 1} among numbers; "
                "correct it, or name the channels to use (channels=[...])"
            )


def column_of(table: dict[str, Array], name: str, what: str, option: str, origin: str) -> Array:
    """The column of a name.

    Args:
        table: Columns of equal length.
        name: Its name.
        what: What it is for, for errors.
        option: The option that names it, for errors.
        origin: The file, for errors.

    Raises:
        ValueError: there is none; the sentence names the nearest.

    Example:
        >>> column_of({"x": np.array([1.0])}, "x", "a channel", "channels", "toy.csv").tolist()
        [1.0]
    """
    if name not in table:
        raise ValueError(f"{origin} has no column {name!r} for {what}; {nearest(name, table)} (option {option}=)")
    return table[name]
