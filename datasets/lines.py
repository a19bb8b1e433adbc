"""Straight lines in the place of missing values."""

from __future__ import annotations

import numpy as np

from seqkit.datasets.rows import Array

__all__ = ["fill_by_lines"]


def fill_by_lines(row: Array, times: Array | None = None) -> Array:
    """A series whose missing values lie on the line between the observed ones beside them, channel by channel.

    What lies before the first observed value of a channel is that value, and what lies after the last is the last. A
    channel without any stays missing.

    Args:
        row: Samples, (L, C), NaN where a value is missing.
        times: Time of each sample in seconds, (L,), increasing; even ones if None.

    Returns:
        Samples, (L, C), of the same dtype; `row` itself where nothing is missing.

    Cost:
        O(L C).

    Example:
        >>> fill_by_lines(np.array([[np.nan], [1.0], [np.nan], [np.nan], [4.0]]))[:, 0].tolist()
        [1.0, 1.0, 2.0, 3.0, 4.0]
    """
    missing = np.isnan(row)
    if not missing.any():
        return row
    at = np.arange(len(row)) if times is None else times
    filled = row.copy()
    for channel in range(row.shape[1]):
        there = ~missing[:, channel]
        if there.any():
            filled[~there, channel] = np.interp(at[~there], at[there], row[there, channel])
    return filled
