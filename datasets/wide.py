"""Wide tables, one series per row and one column per time point, into series."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from seqkit.checks import nearest
from seqkit.datasets.columns import is_number
from seqkit.datasets.dates import looks_like_dates, seconds_of
from seqkit.datasets.roles import Columns, find_target, find_time
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet
from seqkit.datasets.table import targets_of
from seqkit.datasets.timing import on_grid, sampling

__all__ = ["is_wide", "series_of_rows"]

_NUMBERED = re.compile(r"(.*?)[_\-. ]?(\d+)")
_PLAIN = ("", "t", "time", "v", "value")  # prefixes that name no channel
_FEW = 3  # columns x1, x2 are more often two channels than two times


class _Points(NamedTuple):
    """Columns that are time points: by channel, all at the same times."""

    channels: dict[str, list[str]]
    times: Array | None


def is_wide(table: dict[str, Array], columns: Columns) -> bool:
    """Whether a table has one series per row: no times, no id twice, and columns that are numbered or dated.

    Args:
        table: Columns of equal length.
        columns: Which is what, as far as it is known.

    Example:
        >>> row = {"series": np.array(["a", "b"]), **{f"t{k}": np.zeros(2) for k in range(5)}}
        >>> is_wide(row, Columns()), is_wide({**row, "series": np.array(["a", "a"])}, Columns())
        (True, False)
    """
    if find_time(table, columns, "the table") is not None:
        return False
    ids = table.get(columns.id)
    if ids is not None and len(np.unique(ids)) < len(ids):
        return False
    left = _left(table, columns)
    points = _points(left)
    if points is None:  # most columns are time points, so that the others deserve a sentence
        numbered = [name for name in left if _NUMBERED.fullmatch(name) or _dated([name])]
        return ids is not None and len(numbered) > max(_FEW, len(left) / 2)
    if len(next(iter(points.channels.values()))) < _FEW:
        return False
    # Without ids or targets numbered columns may as well be numbered sensors, a row of the table being one sample.
    told = ids is not None or any(name in table for name in columns.targets)
    return told or points.times is not None


def series_of_rows(
    table: dict[str, Array], columns: Columns, origin: str, *, need_target: bool, keep_times: bool = False
) -> SeriesSet:
    """Reads each row of a table as a series.

    Columns are times by their names: numbers (0, 0.5, 1), dates, or a channel's name with a number (x_0, x_1, y_0,
    y_1); they are put in the order of these. Numbers that count 0, 1, 2 or 1, 2, 3 say nothing of seconds.

    Args:
        table: Columns of equal length.
        columns: Which is what; `channels` names those before the numbers.
        origin: The file, to name in errors.
        need_target: Whether a missing target column is an error.
        keep_times: Whether evenly sampled series keep their timestamps too.

    Returns:
        The series in the order of the rows. Empty fields at the end of a row are no samples, others are NaN.

    Raises:
        ValueError: a column that is neither id, target nor time point, channels at different times, an id twice, or a
            row without a value.

    Example:
        >>> table = {"series": np.array(["a", "b"]), "x_0": np.array([1.0, 3.0]), "x_1": np.array([2.0, np.nan])}
        >>> series = series_of_rows(table, Columns(), "toy.csv", need_target=False)
        >>> series.channels, series.lengths.tolist()
        (('x',), [2, 1])
    """
    left = _left(table, columns)
    points = _points(left)
    if points is None:
        raise ValueError(_no_points(left, origin))
    places = _chosen(points, columns, origin)
    samples = np.stack(
        [np.stack([_numbers(left, name, origin) for name in names], axis=1) for names in places.values()]
    )
    lengths = _lengths(~np.isnan(samples).all(axis=0))
    count = len(lengths)
    ids = table.get(columns.id, np.array([str(row) for row in range(count)]))
    names = [str(one) for one in ids.tolist()]
    _refuse(lengths, names, origin)
    values = [samples[:, row, :length].T for row, length in enumerate(lengths.tolist())]
    timestamps, rate = None, None
    if points.times is not None:
        each = [points.times[:length] for length in lengths.tolist()]
        timestamps, rate = sampling(each, names, origin)
        if timestamps is not None and columns.gaps in ("grid", "line"):
            rate = columns.rate or rate or 1.0
            values, each = on_grid(values, each, rate, names, origin, lines=columns.gaps == "line")
            timestamps = None
        timestamps = each if keep_times or (timestamps is not None and columns.gaps == "keep") else None
    targets = find_target(table, columns, origin, need_target=need_target)
    return SeriesSet(
        values=values,
        target=targets_of([table[name] for name in targets], np.arange(count), names, origin),
        timestamps=timestamps,
        names=names,
        sample_rate=rate,
        channels=() if list(places) == [""] else tuple(places),
        origin=origin,
        targets=targets if len(targets) > 1 else (),
    )


def _left(table: dict[str, Array], columns: Columns) -> dict[str, Array]:
    """Columns that may be time points: words beside them are notes, as in long tables."""
    used = {columns.id, *(columns.targets)}
    return {name: one for name, one in table.items() if name not in used and (_dated([name]) or _is_point(name, one))}


def _is_point(name: str, column: Array) -> bool:
    return column.dtype.kind == "f" or _NUMBERED.fullmatch(name) is not None


def _points(left: dict[str, Array]) -> _Points | None:
    """Time points by channel, or None where the names are none or not those of whole channels."""
    names = list(left)
    if not names:
        return None
    if _dated(names):
        return _sorted(names, seconds_of(np.array(names), "names of columns", "the table"))
    try:
        numbers = np.array([float(name) for name in names])
    except ValueError:
        return _numbered(names)
    steps = np.diff(np.sort(numbers))
    counted = bool((steps == 1).all()) and numbers.min() in (0, 1)
    return _sorted(names, numbers) if not counted else _sorted(names, numbers)._replace(times=None)


def _dated(names: list[str]) -> bool:
    return looks_like_dates(np.array(names)) and all("-" in name for name in names)


def _sorted(names: list[str], times: Array) -> _Points:
    order = np.argsort(times, kind="stable")
    return _Points({"": [names[k] for k in order]}, times[order])


def _numbered(names: list[str]) -> _Points | None:
    channels: dict[str, dict[int, str]] = {}
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if found is None:
            return None
        points = channels.setdefault(found[1], {})
        if int(found[2]) in points:
            return None
        points[int(found[2])] = name
    first = sorted(next(iter(channels.values())))
    if first != list(range(first[0], first[0] + len(first))) or any(sorted(one) != first for one in channels.values()):
        return None
    plain = len(channels) == 1 and next(iter(channels)).lower() in _PLAIN
    return _Points({"" if plain else name: [one[k] for k in first] for name, one in channels.items()}, None)


def _no_points(left: dict[str, Array], origin: str) -> str:
    odd = [name for name in left if _NUMBERED.fullmatch(name) is None and not _dated([name])]
    which = f"column {odd[0]!r} of {origin} is none of these" if odd else f"those of {origin} are not"
    return (
        "the columns of a wide table beside id and target must be times (0, 0.5, 1), dates, or channels with numbers "
        f"without gaps, the same for each channel (x_0, x_1, y_0, y_1), but {which}; remove or rename it, or use "
        "form=long"
    )


def _chosen(points: _Points, columns: Columns, origin: str) -> dict[str, list[str]]:
    if columns.channels is None:
        return points.channels
    for name in columns.channels:
        if name not in points.channels:
            raise ValueError(
                f"{origin} has no columns {name}_0, {name}_1 for a channel {name!r}; {nearest(name, points.channels)} "
                "(option channels=)"
            )
    return {name: points.channels[name] for name in columns.channels}


def _numbers(left: dict[str, Array], name: str, origin: str) -> Array:
    column = left[name]
    if column.dtype.kind != "f":
        texts = column.tolist()
        row = next(k for k, text in enumerate(texts) if not is_number(text))
        raise ValueError(f"column {name!r} of {origin} holds {texts[row]!r} in row {row + 1}; it must hold numbers")
    return column


def _lengths(observed: Array) -> Array:
    """Samples of each row up to the last that was observed, (n,)."""
    last: Array = observed.shape[1] - np.argmax(observed[:, ::-1], axis=1)
    return np.where(observed.any(axis=1), last, 0)


def _refuse(lengths: Array, names: list[str], origin: str) -> None:
    if not lengths.all():
        row = int((lengths == 0).argmax())
        raise ValueError(f"row {row + 1} of {origin} (series {names[row]!r}) has no value; fill or remove it")
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if seen.setdefault(name, row) != row:
            raise ValueError(
                f"rows {seen[name] + 1} and {row + 1} of {origin} are both series {name!r}; a wide table has one row "
                "for each series, so rename one, or use form=long"
            )
