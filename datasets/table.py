"""Long tables, one row per sample, into series."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqkit.datasets.dates import seconds_of
from seqkit.datasets.roles import Columns, column_of, find_channels, find_target, find_time, refuse_empty, refuse_many
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.timing import on_grid, sampling

__all__ = ["few_whole_numbers", "series_of_columns", "targets_of"]


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
        refuse_many(table, columns, origin)
        table = {columns.id: np.full(len(next(iter(table.values()))), one_series), **table}
    ids = column_of(table, columns.id, "series ids", "id", origin)
    time = find_time(table, columns, origin)
    targets = find_target(table, columns, origin, need_target=need_target)
    channels = find_channels(table, columns, {columns.id, time, *(columns.targets)}, origin)
    if columns.channels is None and need_target:  # one to predict for may lack a channel that training had
        refuse_empty({name: table[name] for name in channels}, origin)
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
        if timestamps is not None and columns.gaps in ("grid", "line"):
            if isinstance(target, list) and not isinstance(target[0], str):
                raise ValueError(
                    f"{origin} has a target per sample, which the points that gaps={columns.gaps} adds would lack; use "
                    "gaps=keep"
                )
            rate = columns.rate or rate or 1.0
            values, each = on_grid(values, each, rate, names, origin, lines=columns.gaps == "line")
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


def few_whole_numbers(values: Array) -> bool:
    """Whether numbers look like the numbers of classes: whole, at most 20 different ones, each twice on average.

    Example:
        >>> few_whole_numbers(np.array([0, 1, 1, 0])), few_whole_numbers(np.array([61, 72, 80, 75]))
        (True, False)
    """
    distinct = np.unique(values)
    whole = bool(np.isfinite(distinct).all()) and bool((distinct == np.round(distinct)).all())
    return whole and len(distinct) <= min(20, len(values) / 2)


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
