"""The even grid of times that a series lies on."""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np

__all__ = ["even_times", "kind_of_times"]

DAY = 86_400_000_000_000


def even_times(index: Any, name: str, freq: Any = None) -> Any:
    """The grid that an index lies on, from its first to its last time.

    The step of dates is the one that the index has, or that pandas finds; then months, where all are the first or last
    of one; then days from Monday to Friday, where over two weeks none is at a weekend; then the smallest step, where
    all others are whole numbers of it.

    Args:
        index: Times of one series.
        name: Name of the series in errors.
        freq: The step of dates, where it is known.

    Raises:
        ValueError: times that do not increase, that have no even step, or that are neither dates, periods nor numbers.

    Example:
        >>> import pandas as pd
        >>> even_times(pd.DatetimeIndex(["2024-01-31", "2024-02-29", "2024-04-30"]), "`y`")[2]
        Timestamp('2024-03-31 00:00:00')
    """
    import pandas as pd  # noqa: PLC0415 - the index is one of its own, so it is there

    if not (index.is_monotonic_increasing and index.is_unique):
        raise ValueError(f"the times of {name} must increase; sort the rows and keep one for each time")
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[0], index[-1], freq=index.freq)
    if isinstance(index, pd.DatetimeIndex):
        step = freq or index.freq or _inferred(index)
        grid = None if step is None else pd.date_range(index[0], index[-1], freq=step)
        if grid is None or not index.isin(grid).all():
            known = "" if freq is None else f" of {pd.tseries.frequencies.to_offset(freq).freqstr}, as before"
            raise ValueError(
                f"the times of {name} have no even step{known}; put them on one, such as by y.asfreq('h') or "
                "y.to_period('M'), which leaves NaN where nothing was observed, or number the samples"
            )
        return grid
    if index.dtype.kind not in "iu":
        raise ValueError(
            f"the times of {name} must be dates, periods or whole numbers, got {index.dtype}; add a date to durations, "
            "or number the samples"
        )
    if len(index) > 2 and int(np.diff(index).min()) > 1:
        raise ValueError(f"the times of {name} count in steps of {np.diff(index).min()}; number them 0, 1, 2")
    return pd.RangeIndex(int(index[0]), int(index[-1]) + 1)


def kind_of_times(index: Any) -> str:
    """What an index holds, in words: times of two kinds are never equal.

    Example:
        >>> import pandas as pd
        >>> kind_of_times(pd.RangeIndex(3)), kind_of_times(pd.date_range("2020", periods=2, tz="UTC"))
        ('whole numbers', 'dates of a time zone')
    """
    import pandas as pd  # noqa: PLC0415

    if isinstance(index, pd.PeriodIndex):
        return f"periods of {index.freqstr}"
    if isinstance(index, pd.DatetimeIndex):
        return "dates" if index.tz is None else "dates of a time zone"
    return "durations" if isinstance(index, pd.TimedeltaIndex) else "whole numbers"


def _inferred(index: Any) -> Any:
    """Step of dates that have none of their own; None where they are uneven."""
    import pandas as pd  # noqa: PLC0415

    if len(index) == 1:
        return pd.Timedelta(days=1)  # of one time no step is known, and none is needed for the past
    guess = (pd.infer_freq(index) if len(index) > 2 else None) or _months(index)
    if guess is not None:
        return guess
    steps = np.diff(index.as_unit("ns").asi8)
    small = int(steps.min())
    if (steps % small).any():
        return None
    weeks = (index[-1] - index[0]) / pd.Timedelta(days=7)
    return "B" if small == DAY and weeks >= 2 and int(index.dayofweek.max()) < 5 else pd.Timedelta(small, unit="ns")


def _months(index: Any) -> str | None:
    """Step in months of dates that are all the first, or all the last, day of one."""
    starts = bool((index.day == 1).all())
    if not starts and not bool(index.is_month_end.all()):
        return None
    counts = np.asarray(index.year * 12 + index.month)
    step = gcd(*(int(count) for count in np.diff(counts)))
    if step == 0:
        return None
    letter = "S" if starts else "E"
    month = index[0].strftime("%b").upper()
    if step % 12 == 0:
        return f"{step // 12}Y{letter}-{month}"
    return f"Q{letter}-{month}" if step == 3 else f"{step}M{letter}"
