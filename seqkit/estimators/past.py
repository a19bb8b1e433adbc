"""What a forecaster knows of each series: its values on an even grid of times, and the steps that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkit.datasets.rows import Array
from seqkit.estimators.grid import even_times, kind_of_times

__all__ = ["Past", "check_known", "pasts_of"]

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
        return _checked(_known(X, self.key, self.times_ahead(n_steps)), "`X`")

    def times_ahead(self, n_steps: int) -> Any:
        """The times after the last sample."""
        return self.index[-1:].append(_next(self.index, n_steps))[1:]

    def has_ahead(self, X: Any, n_steps: int) -> bool:
        """Whether `X` has a row at any of the next steps."""
        mine = _rows(X, self.key)
        return mine is not None and bool(self.times_ahead(n_steps).isin(mine.index).any())


def pasts_of(y: Any, X: Any = None, origin: str = "`y`", before: Sequence[Past] = ()) -> list[Past]:
    """The series of a frame, each on an even grid; times that a grid lacks become missing values.

    Args:
        y: A frame with a time index, or with further levels before the time for several series.
        X: A frame with the same kind of index, or None.
        origin: Name of `y` in errors.
        before: What was known of the series: a series keeps its step, also where what came since leaves times out.

    Raises:
        ValueError: times that do not increase, an index without an even step, infinite or huge values, or none at all.

    Example:
        >>> import pandas as pd
        >>> pasts_of(pd.DataFrame({"a": [1.0, 2.0, 4.0]}, index=[0, 1, 3]))[0].y[:, 0]
        array([ 1.,  2., nan,  4.])
    """
    if len(y) == 0:
        raise ValueError(f"{origin} must have at least one sample, got none; give the series so far")
    steps = {past.key: getattr(past.index, "freq", None) for past in before if past.length > 1}
    out = []
    for key in _keys(y):
        mine = _of_key(y, key)
        name = f"series {key} of {origin}" if key else origin
        index = even_times(mine.index, name, steps.get(key))
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
    mine = _rows(X, key)
    if mine is None:
        return np.full((len(times), X.shape[1]), np.nan)
    if not mine.index.is_unique:
        raise ValueError(f"`X` must have one row for each time, got {mine.index[mine.index.duplicated()][0]!s} twice")
    return np.asarray(mine.reindex(times).to_numpy(dtype=np.float64, na_value=np.nan))


def _rows(X: Any, key: tuple[Any, ...]) -> Any:
    """Rows of a series; None where it has none."""
    if key and (key if len(key) > 1 else key[0]) not in X.index.droplevel(-1):
        return None
    return _of_key(X, key)


def check_known(X: Any, y: Any) -> None:
    """Refuses what is known beside where no time of it could be one of the series.

    Args:
        X: What is known beside.
        y: The series, in a frame.

    Raises:
        ValueError: times of another kind, such as numbers beside dates.

    Example:
        >>> import pandas as pd
        >>> dates = pd.date_range("2020", periods=2)
        >>> check_known(pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"y": [1, 2]}, index=dates))
        Traceback (most recent call last):
        ...
        ValueError: `X` must have times like those of `y`, dates, got whole numbers; give it the index of `y`
    """
    mine, wanted = (kind_of_times(frame.index.get_level_values(-1)) for frame in (X, y))
    if mine != wanted:
        raise ValueError(f"`X` must have times like those of `y`, {wanted}, got {mine}; give it the index of `y`")


def _checked(values: Array, name: str) -> Array:
    """Refuses values that are too large to reckon with."""
    if np.isinf(values).any():
        raise ValueError(f"{name} has infinite values; correct them, or leave them out as missing (NaN)")
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    if largest > LARGEST:
        raise ValueError(f"{name} must hold values of at most {LARGEST:g} in size, got {largest:g}; take another unit")
    return values


def _next(index: Any, n_steps: int) -> Any:
    """The times after the last."""
    import pandas as pd  # noqa: PLC0415

    if isinstance(index, pd.RangeIndex):
        return pd.RangeIndex(index[-1] + 1, index[-1] + 1 + n_steps)
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[-1], periods=n_steps + 1, freq=index.freq)[1:]
    return pd.date_range(index[-1], periods=n_steps + 1, freq=index.freq)[1:]
