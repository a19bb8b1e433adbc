"""Times as people write them, dates or numbers, into seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["looks_like_dates", "seconds_of"]

_MONTH = 365.2425 / 12 * 86400  # mean length of a month, seconds
_ISO = re.compile(r"\d{4}-?\d\d(-?\d\d)?([T ]\d\d.*)?")
_ZONE = re.compile(r"[T ]\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")
# Numbers beyond the year 5138 as seconds are Unix times in a finer unit.
_FINER = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def looks_like_dates(column: Array) -> bool:
    """Whether a column holds dates rather than words or numbers.

    Example:
        >>> looks_like_dates(np.array(["2026-03-01", "2026-03-02 12:00"])), looks_like_dates(np.array(["walk"]))
        (True, False)
    """
    if column.dtype.kind == "U":
        return all(_ISO.match(text) for text in column[:100].tolist())
    return column.dtype.kind == "M"


def seconds_of(column: Array, name: str, origin: str) -> Array:
    """Seconds, (n,): numbers as they are, dates since 1970 in UTC; a date without a zone counts as UTC.

    Numbers from 1e11 on are milliseconds since 1970, from 1e14 on microseconds, from 1e17 on nanoseconds. Dates that
    are a month apart, each on the same day of the month or each on its last, count as even: a month is 30.436875 days.

    Args:
        column: Numbers, dates, or dates as text in ISO 8601.
        name: Its name, for errors.
        origin: The file, for errors.

    Raises:
        ValueError: an empty time, or text that is no date; the sentence names the row, counted from 1 below the header.

    Example:
        >>> seconds_of(np.array(["1970-01-01T01:00:00+01:00", "1970-01-01T00:01:00Z"]), "time", "toy.csv").tolist()
        [0.0, 60.0]
    """
    if column.dtype.kind == "f":
        _refuse_empty(np.isnan(column), name, origin)
        largest = float(np.abs(column).max(initial=0))
        return column / next((unit for least, unit in _FINER if largest >= least), 1.0)
    dates = column if column.dtype.kind == "M" else _dates(column, name, origin)
    _refuse_empty(np.isnat(dates), name, origin)
    months = _whole_months(dates)
    if months is not None:
        return months * _MONTH
    since: Array = (dates - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    return since


def _refuse_empty(empty: Array, name: str, origin: str) -> None:
    if empty.any():
        raise ValueError(
            f"column {name!r} of {origin} has no time in row {int(empty.argmax()) + 1}; every row needs its time"
        )


def _dates(column: Array, name: str, origin: str) -> Array:
    texts = column.astype(str)
    zoned = np.array([_ZONE.search(text) is not None for text in texts.tolist()])
    if zoned.any() and not zoned.all():
        row = int((~zoned if zoned[0] else zoned).argmax())
        raise ValueError(
            f"column {name!r} of {origin} has times with and without a time zone, such as {texts[0]!r} in row 1 and "
            f"{texts[row]!r} in row {row + 1}; write all of them in one way"
        )
    try:
        return _zoned(texts) if zoned.any() else texts.astype("datetime64[us]")
    except ValueError:
        row = next((k for k, text in enumerate(texts.tolist()) if text and not _is_date(text)), 0)
        raise ValueError(
            f"column {name!r} of {origin} must hold seconds or ISO 8601 dates such as 2026-03-01T12:00:00, got "
            f"{str(texts[row])!r} in row {row + 1}"
        ) from None


def _zoned(texts: Array) -> Array:
    moments = [datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None) for text in texts.tolist()]
    return np.array(moments, dtype="datetime64[us]")


def _is_date(text: str) -> bool:
    try:
        _zoned(np.array([text]))
    except ValueError:
        return False
    return True


def _whole_months(dates: Array) -> Array | None:
    """Months since 1970 of dates that step by whole months, else None."""
    days, months = dates.astype("datetime64[D]"), dates.astype("datetime64[M]")
    if (days != dates).any() or len(np.unique(months)) < max(2, len(np.unique(days))):
        return None
    of_month = (days - months).astype(int)
    last = ((months + 1).astype("datetime64[D]") - days).astype(int) == 1
    even = bool((of_month == of_month[0]).all()) or bool(last.all())
    return months.astype(int).astype(np.float64) if even else None
