"""What a forecaster knows of each series: its values on an even grid of times, and the steps that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["Past", "pasts_of"]

LARGEST = 1e150
"""Size of values that can be forecast: the square of larger ones, in their deviation, is not a number any more."""


@dataclass(frozen=True, eq=False)
class Past:
    """One series so far, NaN where nothing was observed.

    Args:
        key: Name of the series: its levels of the index but the time, () where there is only one.
        index: Time of each sample, even, (n,).
        y: Values to forecast, (n, T), float64.
        X: Values of what is known beside them, (n, K), float64; K is 0 where there is nothing.

    Example:
        >>> Past((), None, np.zeros((3, 1)), np.zeros((3, 0))).length
        3
    """

    key: tuple[Any, ...]
    index: Any
    y: Array
    X: Array

    @property
    def length(self) -> int:
        """Samples n."""
        return len(self.y)

    def ahead(self, X: Any, n_steps: int) -> Array:
        """What is known at the next steps, (n_steps, K): NaN where `X` has no row of that time."""
        if X is None or self.X.shape[1] == 0:
            return np.full((n_steps, self.X.shape[1]), np.nan)
        known = _known(X, self.key, self.index[-1:].append(_next(self.index, n_steps))[1:])
        return _checked(known, "`X`")


def pasts_of(y: Any, X: Any = None, origin: str = "`y`") -> list[Past]:
    """The series of a frame, each on an even grid; times that a grid lacks become missing values.

    Args:
        y: A frame with a time index, or with further levels before the time for several series.
        X: A frame with the same kind of index, or None.
        origin: Name of `y` in errors.

    Raises:
        ValueError: times that do not increase, an index without an even step, infinite or huge values, or none at all.

    Example:
        >>> import pandas as pd
        >>> pasts_of(pd.DataFrame({"a": [1.0, 2.0, 4.0]}, index=[0, 1, 3]))[0].y[:, 0]
        array([ 1.,  2., nan,  4.])
    """
    out = []
    for key in _keys(y):
        mine = _of_key(y, key)
        name = f"series {key} of {origin}" if key else origin
        index = _even(mine.index, name)
        values = _checked(mine.reindex(index).to_numpy(dtype=np.float64, na_value=np.nan), name)
        empty = ~np.isfinite(values).any(axis=0)
        if empty.any():
            raise ValueError(f"{name} has no value at all of {y.columns[empty.argmax()]!r}; leave it out")
        known = np.zeros((len(index), 0)) if X is None else _checked(_known(X, key, index), "`X`")
        out.append(Past(key, index, values, known))
    return out


def _keys(y: Any) -> list[tuple[Any, ...]]:
    """Names of the series, in the order in which they come."""
    if y.index.nlevels == 1:
        return [()]
    return [key if isinstance(key, tuple) else (key,) for key in y.index.droplevel(-1).unique()]


def _of_key(frame: Any, key: tuple[Any, ...]) -> Any:
    return frame if not key else frame.loc[key if len(key) > 1 else key[0]]


def _known(X: Any, key: tuple[Any, ...], times: Any) -> Array:
    """Rows of a series at some times; NaN where there are none."""
    if key and (key if len(key) > 1 else key[0]) not in X.index.droplevel(-1):
        return np.full((len(times), X.shape[1]), np.nan)
    return np.asarray(_of_key(X, key).reindex(times).to_numpy(dtype=np.float64, na_value=np.nan))


def _checked(values: Array, name: str) -> Array:
    """Refuses values that are too large to reckon with."""
    if np.isinf(values).any():
        raise ValueError(f"{name} has infinite values; correct them, or leave them out as missing (NaN)")
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    if largest > LARGEST:
        raise ValueError(f"{name} must hold values of at most {LARGEST:g} in size, got {largest:g}; take another unit")
    return values


def _even(index: Any, name: str) -> Any:
    """The grid that an index lies on."""
    import pandas as pd  # noqa: PLC0415 - the index is one of its own, so it is there

    if not (index.is_monotonic_increasing and index.is_unique):
        raise ValueError(f"the times of {name} must increase; sort the rows and keep one for each time")
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[0], index[-1], freq=index.freq)
    if isinstance(index, pd.DatetimeIndex):
        freq = index.freq or _inferred(index)
        if freq is None:
            raise ValueError(
                f"the times of {name} have no even step; put them on one, such as by y.asfreq('D'), which leaves NaN "
                "where nothing was observed"
            )
        return pd.date_range(index[0], index[-1], freq=freq)
    if index.dtype.kind not in "iu":
        raise ValueError(
            f"the times of {name} must be dates, periods or whole numbers, got {index.dtype}; add a date to durations, "
            "or number the samples"
        )
    if len(index) > 2 and int(np.diff(index).min()) > 1:
        raise ValueError(f"the times of {name} count in steps of {np.diff(index).min()}; number them 0, 1, 2")
    return pd.RangeIndex(int(index[0]), int(index[-1]) + 1)


def _inferred(index: Any) -> Any:
    """Step of an index: pandas' own guess, or the smallest step where all others are whole numbers of it."""
    import pandas as pd  # noqa: PLC0415

    if len(index) == 1:
        return pd.Timedelta(days=1)  # of one time no step is known, and none is needed for the past
    guess = pd.infer_freq(index) if len(index) > 2 else None
    if guess is not None:
        return guess
    steps = np.diff(index.asi8)
    small = int(steps.min())
    unit: Any = getattr(index, "unit", "ns")
    return pd.Timedelta(small, unit=unit) if not (steps % small).any() else None


def _next(index: Any, n_steps: int) -> Any:
    """The times after the last."""
    import pandas as pd  # noqa: PLC0415

    if isinstance(index, pd.RangeIndex):
        return pd.RangeIndex(index[-1] + 1, index[-1] + 1 + n_steps)
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[-1], periods=n_steps + 1, freq=index.freq)[1:]
    return pd.date_range(index[-1], periods=n_steps + 1, freq=index.freq)[1:]
