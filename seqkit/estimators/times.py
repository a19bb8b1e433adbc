"""What the index of a series says about time: nothing, an even rate, or a time for each sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["IndexTimes", "times_of"]

EVEN = 1e-6
"""Largest difference between steps, as a share of them, of an even index: dates are kept to the nanosecond."""


class IndexTimes(NamedTuple):
    """Times of the samples of one series.

    Args:
        rate: Samples per second of an even index (Hz); of an uneven one, one over its median step; None where the index
            says nothing about time.
        seconds: Time of each sample since the first in seconds, (L,), where the index is uneven; None otherwise.
        counted: Whether the index only counts samples, so that their rate comes from elsewhere.
    """

    rate: float | None
    seconds: Array | None = None
    counted: bool = True


def times_of(index: Any, sample_rate: float | None = None, count_rate: float | None = None) -> IndexTimes:
    """Reads a pandas index.

    Dates, durations and periods are seconds, fractions too. Whole numbers count samples: 0, 1, 2 says
    no more than that the samples follow each other, and 0, 1, 3 that one is left out. Months and other periods of the
    calendar count as equally long.

    Args:
        index: Index of one series, or None.
        sample_rate: Samples per second where the index says nothing (Hz).
        count_rate: Whole numbers of the index per second; `sample_rate` if None, and one if that is None too.

    Raises:
        ValueError: an index that is no time, such as one of names.

    Example:
        >>> import pandas as pd
        >>> times_of(pd.RangeIndex(4)).rate is None, times_of(pd.date_range("2020", periods=3, freq="20ms")).rate
        (True, 50.0)
        >>> times_of(pd.Index([0, 1, 3]), sample_rate=10.0).seconds.tolist()
        [0.0, 0.1, 0.3]
    """
    if index is None or len(index) < 2:
        return IndexTimes(sample_rate)
    seconds = _seconds(index, count_rate or sample_rate)
    if seconds is None:
        return IndexTimes(sample_rate)
    counted = np.asarray(index).dtype.kind in "iu"
    steps = np.diff(seconds)
    mean = float(seconds[-1]) / len(steps)
    if mean > 0 and float(np.abs(steps - mean).max()) <= EVEN * mean + 2e-9:
        return IndexTimes(float(f"{1 / mean:.9g}"), counted=counted)
    middle = float(np.median(steps))
    return IndexTimes(1 / middle if middle > 0 else None, seconds, counted)


def _seconds(index: Any, count_rate: float | None) -> Array | None:
    """Time of each sample since the first; None where the index only counts them."""
    import pandas as pd  # noqa: PLC0415 - the index is one of its own, so it is there

    if isinstance(index, pd.RangeIndex) and index.step == 1:
        return None
    if isinstance(index, pd.DatetimeIndex) and _calendar(index) is not None:
        index = index.tz_localize(None).to_period(_calendar(index))
    if isinstance(index, pd.PeriodIndex):
        return np.asarray((index.asi8 - index.asi8[0]) * _seconds_of_period(index.freq), dtype=np.float64)
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        nanoseconds = index.as_unit("ns").asi8
        return np.asarray((nanoseconds - nanoseconds[0]) / 1e9, dtype=np.float64)
    values = np.asarray(index)
    if values.dtype.kind in "iu":
        counts = (values - values[0]).astype(np.float64)
        return None if np.array_equal(counts, np.arange(len(counts))) else counts / (count_rate or 1.0)
    if values.dtype.kind == "f":
        return np.asarray(values - values[0], dtype=np.float64)
    raise ValueError(
        f"the index of a series must be dates, durations, periods or numbers, got {type(index).__name__} of "
        f"{values.dtype}; set a time index, or reset it to count the samples"
    )


def _calendar(index: Any) -> str | None:
    """Period of an even index whose steps are months, quarters or years, which are not equally long in seconds."""
    import pandas as pd  # noqa: PLC0415

    if len(index) < 3 or (index[1] - index[0]).days < 28:
        return None
    name = index.freqstr or pd.infer_freq(index) or ""
    for start, period in (("M", "M"), ("BM", "M"), ("Q", "Q"), ("BQ", "Q"), ("Y", "Y"), ("BY", "Y"), ("A", "Y")):
        if name.split("-")[0] in (start, f"{start}S", f"{start}E"):
            return period
    return None


def _seconds_of_period(freq: Any) -> float:
    """Mean length of a period over 48 of them: four years of months, with one leap day."""
    import pandas as pd  # noqa: PLC0415

    first, last = pd.Period(ordinal=0, freq=freq), pd.Period(ordinal=48, freq=freq)
    return float((last.start_time - first.start_time) / pd.Timedelta(seconds=1)) / 48
