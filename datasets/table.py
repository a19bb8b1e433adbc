"""Long tables, one row per sample, into series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkit.checks import nearest
from seqkit.datasets.columns import is_number, odd_number
from seqkit.datasets.dates import looks_like_dates, seconds_of
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.timing import on_grid, sampling

__all__ = [
    "Columns",
    "few_whole_numbers",
    "find_target",
    "find_time",
    "nothing_to_learn",
    "series_of_columns",
    "targets_of",
]

_TIMES = ("time", "timestamp", "datetime", "date", "ds")
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
            between them, or "ignore" that and count the samples as even.
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


def series_of_columns(
    table: dict[str, Array],
    columns: Columns,
    origin: str,
    *,
    need_target: bool,
    one_series: str | None = None,
    keep_times: bool = False,
) -> SeriesSet:
    """Groups the rows of a table into series, each in the order of time or else of the rows.

    Args:
        table: Columns of equal length.
        columns: Which is what.
        origin: The file, to name in errors.
        need_target: Whether a missing target column is an error.
        one_series: Name of the only series of a table without a column of series ids; None makes its lack an error.
        keep_times: Whether evenly sampled series keep their timestamps too.

    Returns:
        Series in the order of their first rows. The target is one per series where it never changes within one, else
        one per sample; text and a few whole numbers are labels, other numbers are values. Empty fields of a channel
        are NaN.

    Raises:
        ValueError: a column is missing or holds the wrong kind of thing; the sentence names the nearest.

    Example:
        >>> table = {"series": np.array(["a", "a", "b"]), "x": np.array([1.0, 2.0, 3.0])}
        >>> series_of_columns(table, Columns(), "toy.csv", need_target=False).lengths.tolist()
        [2, 1]
    """
    if one_series is not None and columns.id not in table:
        _refuse_many(table, columns, origin)
        table = {columns.id: np.full(len(next(iter(table.values()))), one_series), **table}
    ids = _column(table, columns.id, "series ids", "id", origin)
    time = find_time(table, columns, origin)
    targets = find_target(table, columns, origin, need_target=need_target)
    channels = _channels(table, columns, {columns.id, time, *(columns.targets)}, origin)
    if columns.channels is None and need_target:  # one to predict for may lack a channel that training had
        _refuse_empty({name: table[name] for name in channels}, origin)
    times = None if time is None else seconds_of(table[time], time, origin)
    order, starts = _grouped(ids, times)
    names = [_text(ids[order[start]]) for start in starts]
    values = np.split(np.stack([table[name] for name in channels], axis=1)[order], starts[1:])
    target = targets_of([table[name][order] for name in targets], starts, names, origin)
    timestamps, rate = None, None
    if times is not None:
        each = np.split(times[order], starts[1:])
        _refuse_same_times(each, np.split(order, starts[1:]), names, table[time or ""], origin)
        timestamps, rate = sampling(each, names, origin)
        if timestamps is not None and columns.gaps == "grid":
            if isinstance(target, list) and not isinstance(target[0], str):
                raise ValueError(
                    f"{origin} has a target per sample, which the points that gaps=grid adds would lack; use gaps=keep"
                )
            rate = columns.rate or rate or 1.0
            values, each = on_grid(values, each, rate, names, origin)
            timestamps = None
        timestamps = each if keep_times or (timestamps is not None and columns.gaps == "keep") else None
    return SeriesSet(
        values=values,
        target=target,
        timestamps=timestamps,
        names=names,
        sample_rate=rate,
        channels=channels,
        origin=origin,
        targets=targets if len(targets) > 1 else (),
    )


def _refuse_many(table: dict[str, Array], columns: Columns, origin: str) -> None:
    """Without times nothing would show that rows of several series have been taken for those of one."""
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
        _column(table, columns.time, "times", "time", origin)
        return columns.time
    if "time" in table:
        return "time"
    used = {columns.id, *(columns.target or ()), *(columns.channels or ())}
    usual = [name for name in table if (name.lower() in _TIMES or name in _INDEX) and name not in used]
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
        _column(table, name, "targets", "target", origin)
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


def _channels(table: dict[str, Array], columns: Columns, used: set[str | None], origin: str) -> tuple[str, ...]:
    """Names of the columns with samples."""
    if columns.channels is not None:
        for name in columns.channels:
            if _column(table, name, "a channel", "channels", origin).dtype.kind != "f":
                raise ValueError(f"column {name!r} of {origin} is a channel and must hold numbers only")
        return columns.channels
    left = {name: column for name, column in table.items() if name not in used and not _counts_rows(name, column)}
    _refuse_stray_words(left, origin)
    channels = tuple(name for name, column in left.items() if column.dtype.kind == "f")
    if not channels:
        raise ValueError(f"{origin} has no column of numbers left to be a channel; its columns are {', '.join(table)}")
    return channels


def _refuse_empty(table: dict[str, Array], origin: str) -> None:
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


def few_whole_numbers(values: Array) -> bool:
    """Whether numbers look like the numbers of classes: whole, at most 20 different ones, each twice on average.

    Example:
        >>> few_whole_numbers(np.array([0, 1, 1, 0])), few_whole_numbers(np.array([61, 72, 80, 75]))
        (True, False)
    """
    distinct = np.unique(values)
    whole = bool(np.isfinite(distinct).all()) and bool((distinct == np.round(distinct)).all())
    return whole and len(distinct) <= min(20, len(values) / 2)


def _column(table: dict[str, Array], name: str, what: str, option: str, origin: str) -> Array:
    if name not in table:
        raise ValueError(f"{origin} has no column {name!r} for {what}; {nearest(name, table)} (option {option}=)")
    return table[name]


def _refuse_same_times(times: list[Array], rows: list[Array], names: list[str], column: Array, origin: str) -> None:
    """Two rows of one series at one time are a mistake, named by their rows."""
    for at, row, name in zip(times, rows, names, strict=True):
        same = np.flatnonzero(np.diff(at) <= 0)
        if len(same):
            one, two = sorted(row[same[0] : same[0] + 2].tolist())
            raise ValueError(
                f"rows {one + 1} and {two + 1} of {origin} are both of series {name!r} at {_text(column[one])}; a "
                "series has one row for each time, so keep one, or tell series apart by their ids (option id=)"
            )


def _grouped(ids: Array, times: Array | None) -> tuple[Array, Array]:
    """Order of the rows that puts each series together, and where in it each series starts."""
    seen: dict[Any, int] = {}
    group = np.array([seen.setdefault(one, len(seen)) for one in ids.tolist()])  # in the order of their first rows
    order = np.argsort(group, kind="stable") if times is None else np.lexsort((times, group))
    return order, np.flatnonzero(np.diff(group[order], prepend=-1))


def targets_of(columns: list[Array], starts: Array, names: list[str], origin: str) -> Any:
    """Targets of series from columns in the order of the series' rows.

    Args:
        columns: Target columns, (rows,) each.
        starts: Row at which each series starts, (n,).
        names: Name of each series, for errors.
        origin: The file, for errors.

    Returns:
        Labels or values, one per series where none changes within its series, else one per sample; None without
        columns. A target that stays the same may be left out in some rows of its series.

    Raises:
        ValueError: a missing target, or text among several targets.

    Example:
        >>> targets_of([np.array(["rest", "", "run"])], np.array([0, 2]), ["a", "b"], "toy.csv")
        ['rest', 'run']
    """
    if not columns:
        return None
    group = np.repeat(np.arange(len(starts)), np.diff([*starts, len(columns[0])]))
    columns = [_spread(column, group, starts) for column in columns]
    for column in columns:
        empty = _empty(column)
        if empty.any():
            raise ValueError(
                f"a target of series {names[group[int(empty.argmax())]]!r} of {origin} is missing; fill it, or remove "
                "the series"
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


def _empty(column: Array) -> Array:
    empty: Array = np.isnan(column) if column.dtype.kind == "f" else column == ""
    return empty


def _spread(column: Array, group: Array, starts: Array) -> Array:
    """A target that some rows of its series leave out, in all of them; one that changes stays as it is."""
    there = np.flatnonzero(~_empty(column))
    if len(there) == len(column):
        return column
    owners, first = np.unique(group[there], return_index=True)
    known = column[starts].copy()
    known[owners] = column[there[first]]
    same = bool((column[there] == known[group[there]]).all())
    return known[group] if same else column


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)
