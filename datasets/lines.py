"""Straight lines between samples: in the place of missing values, and at the points of a grid."""

from __future__ import annotations

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["fill_by_lines", "lines_at"]


def lines_at(row: Array, times: Array, points: Array) -> Array:
    """Values of a series at any times, on the lines between its observed values, channel by channel.

    Before the first observed value of a channel and after the last they are those values. A channel without any stays
    missing.

    Args:
        row: Samples, (L, C), NaN where a value is missing.
        times: Time of each sample in seconds, (L,), increasing.
        points: Times to read the lines at, (N,).

    Returns:
        Values, (N, C), of the dtype of `row`.

    Cost:
        O(C (L + N log L)).

    Example:
        >>> row, times = np.array([[0.0], [np.nan], [4.0]]), np.array([0.0, 1.0, 2.0])
        >>> lines_at(row, times, np.array([0.5, 1.0, 3.0]))[:, 0].tolist()
        [1.0, 2.0, 4.0]
    """
    out = np.full((len(points), row.shape[1]), np.nan, row.dtype)
    for channel, values in enumerate(row.T):
        there = ~np.isnan(values)
        if there.any():
            out[:, channel] = np.interp(points, times[there], values[there])
    return out


def fill_by_lines(row: Array) -> Array:
    """A series of even samples whose missing values lie on the lines of `lines_at`; itself where nothing is missing.

    Args:
        row: Samples, (L, C), NaN where a value is missing.

    Example:
        >>> fill_by_lines(np.array([[np.nan], [1.0], [np.nan], [np.nan], [4.0]]))[:, 0].tolist()
        [1.0, 1.0, 2.0, 3.0, 4.0]
    """
    missing = np.isnan(row)
    if not missing.any():
        return row
    places = np.arange(len(row))
    return np.where(missing, lines_at(row, places, places), row)
