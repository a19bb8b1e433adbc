"""Panels as sktime has them, to series as this toolkit has them: samples first, times from the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqkit.checks import check_positive
from seqkit.datasets.rows import Array
from seqkit.datasets.series import SeriesSet, Target
from seqkit.estimators.columns import in_order
from seqkit.estimators.times import IndexTimes, times_of

__all__ = ["PANEL_MTYPES", "panel_to_series", "read_panel"]

PANEL_MTYPES = ["df-list", "numpy3D", "pd-multiindex", "nested_univ"]
"""Inner types of the estimators: each is read as it is, as sktime's conversion to numpy3D drops the time index. What
is none of them is converted to the first."""

SAME_RATE = 1e-6
"""Largest difference between the rates of series, as a share of them, that count as one rate."""


def panel_to_series(
    X: Any,
    y: Target = None,
    *,
    sample_rate: float | None = None,
    origin: str = "`X`",
    min_length: int = 1,
    told: bool = False,
    channels: Sequence[Any] | None = None,
) -> SeriesSet:
    """The series of a panel: (L_i, C) each, NaN where nothing was observed, with what their index says about time.

    Channels of frames are found by name: each series' as in the first one, or as `channels` has them.

    Series of one even rate make a set with that `sample_rate`. Where a series is uneven, or rates differ, each sample
    goes with its time and `sample_rate` is the median of the series'. A plain count, 0, 1, 2, says nothing about time.

    Args:
        X: A panel of one of `PANEL_MTYPES`: an array (n, C, L), a list of frames (L_i, C), a frame with the index
            (series, time), or a frame of n rows and C columns of series.
        y: Labels or values, as in `SeriesSet`.
        sample_rate: Samples per second where the index does not say (Hz), as in `times_of`.
        origin: Name of the panel in errors.
        min_length: Samples that a series has at least; shorter ones are refused.
        told: Whether the user gave `sample_rate` for these very series; then an index that says otherwise is an error.
        channels: Names of the channels in training, in their order; None to take them as they come.

    Raises:
        ValueError: samples that are no numbers, an unusable index, series of different channels, of no value at all, or
            too short.

    Cost:
        One copy of the samples as float32.

    Example:
        >>> import pandas as pd
        >>> index = pd.timedelta_range(0, periods=3, freq="10ms")
        >>> series = panel_to_series([pd.DataFrame({"x": [1.0, None, 3.0]}, index=index)])
        >>> series.sample_rate, series.has_missing, series.values[0].shape
        (100.0, True, (3, 1))
        >>> panel_to_series(np.zeros((2, 3, 50))).n_channels
        3
    """
    options: dict[str, Any] = {"origin": origin, "min_length": min_length, "told": told, "channels": channels}
    return read_panel(X, y, sample_rate=sample_rate, **options)[0]


def read_panel(
    X: Any,
    y: Target = None,
    *,
    sample_rate: float | None = None,
    count_rate: float | None = None,
    origin: str = "`X`",
    min_length: int = 1,
    told: bool = False,
    channels: Sequence[Any] | None = None,
) -> tuple[SeriesSet, bool]:
    """As `panel_to_series`, and whether the index only counts samples, so that it says nothing of seconds.

    Args:
        X: The panel.
        y: Labels or values.
        sample_rate: Samples per second where the index says nothing (Hz).
        count_rate: Whole numbers of an index per second, where that is not `sample_rate`.
        origin: Name of the panel in errors.
        min_length: Samples that a series has at least.
        told: Whether the user gave `sample_rate` for these very series.
        channels: Names of the channels in training.
    """
    if sample_rate is not None:
        check_positive("sample_rate", sample_rate)
    parts = _parts(X, origin, channels)
    for i, (values, _) in enumerate(parts):
        if len(values) < min_length:
            raise ValueError(f"series {i} of {origin} has {len(values)} samples; {min_length} are needed at least")
    times = [times_of(index, sample_rate, count_rate) for _, index in parts]
    counted = all(one.counted for one in times)
    if told and sample_rate is not None and not counted:
        raise ValueError(
            f"the index of {origin} says when each sample was taken, so it takes no sample_rate; leave it out"
        )
    rate, seconds = _common(times, [len(one) for one, _ in parts])
    series = SeriesSet(
        values=[values for values, _ in parts], target=y, timestamps=seconds, sample_rate=rate, origin=origin
    )
    return series, counted


def _parts(X: Any, origin: str, channels: Sequence[Any] | None) -> list[tuple[Array, Any]]:
    """Samples (L, C) and index of each series."""
    if isinstance(X, np.ndarray):
        if X.ndim != 3:
            raise ValueError(f"{origin} must have shape (series, channels, samples), got {X.shape}; add the axis")
        numbers = _numbers(X, origin)
        return [(np.ascontiguousarray(one.T), None) for one in numbers]
    if isinstance(X, (list, tuple)):
        if channels is None and len(X) > 0:
            channels = list(X[0].columns)
        named = [
            (in_order(one, channels, f"series {i} of {origin}"), f"series {i} of {origin}") for i, one in enumerate(X)
        ]
        return [(_frame(one, name), one.index) for one, name in named]
    X = in_order(X, channels, origin)
    if getattr(X.index, "nlevels", 1) == 2:
        return _of_multiindex(X, origin)
    return [_of_row([X.iat[i, k] for k in range(X.shape[1])], f"series {i} of {origin}") for i in range(len(X))]


def _of_multiindex(X: Any, origin: str) -> list[tuple[Array, Any]]:
    """Rows by the first level, in the order that the series first come in."""
    values = _frame(X, origin)
    codes = np.asarray(X.index.codes[0])
    ends = np.flatnonzero(np.diff(codes)) + 1
    blocks = np.split(np.arange(len(codes)), ends)
    times = X.index.get_level_values(1)
    return [(values[block], times[block[0] : block[-1] + 1]) for block in blocks]


def _of_row(cells: Sequence[Any], origin: str) -> tuple[Array, Any]:
    """One series out of the cells of its channels."""
    lengths = [len(cell) for cell in cells]
    if len(set(lengths)) > 1:
        raise ValueError(f"{origin} has channels of {min(lengths)} to {max(lengths)} samples; fill up with NaN")
    columns = [_numbers(_plain(cell), origin) for cell in cells]
    return np.stack(columns, axis=1), getattr(cells[0], "index", None)


def _frame(frame: Any, origin: str) -> Array:
    """Samples of a frame; columns with missing marks of pandas' own become NaN."""
    values = frame.to_numpy()
    if values.dtype.kind in "fiub":  # one type of numpy's: reading the type of each column takes ten times as long
        return _numbers(values, origin)
    if frame.dtypes.map(lambda dtype: dtype.kind in "fiub").all():  # of several types, or of pandas' own
        return _numbers(np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan)), origin)
    return _numbers(values, origin)  # names what is no number


def _plain(values: Any) -> Array:
    """Numbers of a frame or a column, `pandas.NA` as NaN."""
    if hasattr(values, "to_numpy") and hasattr(values, "isna") and _is_extended(values):
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(values)


def _is_extended(values: Any) -> bool:
    dtypes = values.dtypes if values.ndim == 2 else [values.dtype]
    return any(not isinstance(dtype, np.dtype) and dtype.kind in "fiub" for dtype in dtypes)


def _numbers(values: Array, origin: str) -> Array:
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{origin} must hold numbers, got dtype {values.dtype}; convert it, such as by astype(float)")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `SeriesSet` refuses by name
        return values.astype(np.float32)


def _common(times: list[IndexTimes], lengths: list[int]) -> tuple[float | None, list[Array] | None]:
    """One rate for all series, and the time of each sample where that does not say it."""
    rates = [one.rate for one, length in zip(times, lengths, strict=True) if length > 1 and one.rate is not None]
    if not rates:
        return times[0].rate, None
    middle = float(np.median(rates))
    uneven = any(one.seconds is not None for one in times)
    if not uneven and max(rates) - min(rates) <= SAME_RATE * middle:
        return rates[0], None
    out = []
    for one, length in zip(times, lengths, strict=True):
        out.append(np.arange(length) / (one.rate or 1.0) if one.seconds is None else one.seconds)
    return middle, out
