"""Why a panel cannot be read, in one sentence that names the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["check_levels", "what_is_wrong", "what_is_wrong_in_series"]

PANELS = "an array (series, channels, samples), a list of frames, or a frame with the index (series, time)"


def check_levels(X: Any, levels: Sequence[Any] | None) -> None:
    """Refuses a frame whose index has the time in front of the names of series, which would be taken for series.

    Args:
        X: A panel of any kind.
        levels: Names of the two levels in training; None where none are known.

    Raises:
        ValueError: dates, durations or periods in the first level alone, or the names of training the other way round.

    Example:
        >>> import pandas as pd
        >>> index = pd.MultiIndex.from_product([pd.date_range("2020", periods=2), ["a", "b"]])
        >>> check_levels(pd.DataFrame({"x": range(4)}, index=index), None)
        Traceback (most recent call last):
        ...
        ValueError: the index of `X` must name the series first and then the time, ...
    """
    if getattr(getattr(X, "index", None), "nlevels", 1) != 2:
        return
    timed = [_is_time(level) for level in X.index.levels]
    names = list(X.index.names)
    turned = levels is not None and None not in names and names == list(levels)[::-1] != list(levels)
    if turned or timed == [True, False]:
        raise ValueError(
            f"the index of `X` must name the series first and then the time, got levels {names} the other way round; "
            "turn them by X.swaplevel().sort_index()"
        )


def what_is_wrong(X: Any) -> str | None:
    """A sentence on the first thing in a panel that cannot be read; None where nothing is found.

    Example:
        >>> what_is_wrong([np.zeros((9, 2))])
        '`X` must be a list of frames, got ndarray at 0; give an array (series, channels, samples), or pd.DataFrame ...'
    """
    import pandas as pd  # noqa: PLC0415

    if isinstance(X, np.ndarray):
        if X.ndim not in (2, 3):
            return f"`X` must have shape (series, channels, samples), got {X.shape}; add or join axes"
        return None if X.dtype.kind in "fiub" else _no_numbers("`X`", X.dtype)
    if isinstance(X, (list, tuple)):
        for i, one in enumerate(X):
            if not isinstance(one, pd.DataFrame):
                return (
                    f"`X` must be a list of frames, got {type(one).__name__} at {i}; give an array (series, channels, "
                    "samples), or pd.DataFrame of samples by channels for each series"
                )
            name = f"series {i} of `X`"
            words = _of_columns(one, name) or _of_times(one.index, name)
            if words is not None:
                return words
        return None if len(X) > 0 else "`X` must have at least one series, got an empty list; give a frame for each"
    if not isinstance(X, pd.DataFrame):
        return f"`X` must be {PANELS}, got {type(X).__name__}; convert it"
    if X.index.nlevels == 1:
        return _of_cells(X)
    if X.index.nlevels > 2:
        return (
            f"the index of `X` must have two levels, series and time, got {X.index.nlevels}: {list(X.index.names)}; "
            "join those before the time"
        )
    words = _of_columns(X, "`X`")
    if words is not None:
        return words
    for name in X.index.get_level_values(0).unique():
        words = _of_times(X.loc[name].index, f"series {name!r} of `X`")
        if words is not None:
            return words
    keys = X.index.get_level_values(0)
    if int((keys[1:] != keys[:-1]).sum()) + 1 > keys.nunique():
        return "the rows of each series of `X` must follow each other, got them mixed; sort by X.sort_index()"
    return None


def what_is_wrong_in_series(y: Any, name: str) -> str | None:
    """As `what_is_wrong`, of one series or several in a frame.

    Args:
        y: A series, or a frame with a time index or with further levels before the time.
        name: What to call it.

    Example:
        >>> import pandas as pd
        >>> what_is_wrong_in_series(pd.Series(["1", "2"]), "`y`")
        'channel 0 of `y` must hold numbers, got dtype str; convert it, such as by astype(float)'
    """
    import pandas as pd  # noqa: PLC0415

    if isinstance(y, (list, tuple, dict)) and not any(isinstance(one, pd.DataFrame) for one in y):
        return f"{name} must be of type pd.Series or pd.DataFrame, got {type(y).__name__}; give it a time index"
    frame: Any = y.to_frame() if isinstance(y, pd.Series) else y
    if not isinstance(y, (pd.Series, pd.DataFrame)):
        return None
    words = _of_columns(frame, name)
    if words is not None or frame.index.nlevels == 1:
        return words or _of_times(frame.index, name)
    for key in frame.index.droplevel(-1).unique():
        words = _of_times(frame.loc[key].index, f"series {key!r} of {name}")
        if words is not None:
            return words
    return None


def _no_numbers(name: str, dtype: Any) -> str:
    return f"{name} must hold numbers, got dtype {dtype}; convert it, such as by astype(float)"


def _of_columns(frame: Any, name: str) -> str | None:
    for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if getattr(dtype, "kind", "O") not in "fiub":
            return _no_numbers(f"channel {column!r} of {name}", dtype)
    return None


def _is_time(index: Any) -> bool:
    import pandas as pd  # noqa: PLC0415

    return isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex))


def _of_times(index: Any, name: str) -> str | None:
    if not _is_time(index) and getattr(index.dtype, "kind", "O") not in "iu":
        return (
            f"the index of {name} must be dates, durations, periods or whole numbers, got {type(index).__name__} of "
            f"{index.dtype}; convert it, such as by pd.to_datetime or pd.to_timedelta(seconds, unit='s')"
        )
    if index.hasnans:
        return f"the index of {name} has missing times; leave those rows out"
    if not index.is_monotonic_increasing:
        return f"the times of {name} must increase; sort the rows by their index"
    return None


def _of_cells(X: Any) -> str | None:
    """Of a frame of one row a series, whose cells are the channels."""
    import pandas as pd  # noqa: PLC0415

    for column in X.columns:
        for row, cell in zip(X.index, X[column], strict=True):
            if not isinstance(cell, (pd.Series, np.ndarray)):
                return (
                    f"`X` must be {PANELS}, got a frame with {type(cell).__name__} in row {row!r}, column {column!r}; "
                    "for rows of samples of one channel give X.to_numpy()"
                )
    kinds = {type(cell) for column in X.columns for cell in X[column]}
    return "`X` is a frame of arrays; make each cell a pd.Series" if kinds == {np.ndarray} else None
