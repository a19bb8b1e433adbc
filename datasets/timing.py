"""From times of samples to a sample rate, where the samples are even, and onto an even grid where they have gaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqkit.datasets.lines import lines_at
from seqkit.datasets.rows import Array

__all__ = ["GAPS", "on_grid", "sampling"]

TOLERANCE = 0.05
"""Largest part by which a step may differ from the median one and count as even: times are often rounded."""

GAPS = ("keep", "grid", "line", "ignore")
"""What to do where steps differ: keep each sample's time, lay the samples on an even grid, draw lines between them on
such a grid, or count them as even."""

_EMPTY = 20  # points of a grid for each sample at most: more is a wrong rate, or two recordings under one name


def sampling(times: list[Array], names: list[str], origin: str) -> tuple[list[Array] | None, float | None]:
    """Sample rate of series, and their timestamps where one rate does not say it all.

    Args:
        times: Time of each sample in seconds, (L_i,) each.
        names: Name of each series.
        origin: The file, to name in errors.

    Returns:
        (None, rate) for even samples, (timestamps, typical rate) for others; the rate is None where no series has two
        samples.

    Raises:
        ValueError: times that are missing or do not increase.

    Example:
        >>> sampling([np.array([0.0, 0.5, 1.0])], ["a"], "toy.csv")
        (None, 2.0)
    """
    for name, one in zip(names, times, strict=True):
        if not np.isfinite(one).all():
            raise ValueError(f"series {name!r} of {origin} has a sample without a time; every row needs its time")
        same = np.flatnonzero(np.diff(one) <= 0)
        if len(same):
            k = int(same[0])
            raise ValueError(
                f"series {name!r} of {origin} has samples {k} and {k + 1} at {one[k]:g} and {one[k + 1]:g} s; "
                "times must increase"
            )
    steps = np.concatenate([np.diff(one) for one in times])
    if len(steps) == 0:
        return None, None
    median = float(np.median(steps))
    even = bool((np.abs(steps / median - 1) <= TOLERANCE).all())
    # The mean of even steps is the median without its rounding: 30 Hz written in milliseconds has steps of 33 and 34.
    step = float(steps.mean()) if even else median
    return (None if even else times), float(f"{1 / step:.6g}")


def on_grid(
    values: Sequence[Array],
    times: Sequence[Array],
    rate: float,
    names: Sequence[str],
    origin: str,
    *,
    lines: bool = False,
) -> tuple[list[Array], list[Array]]:
    """Series on an even grid that starts with each one's first sample: NaN where nothing was sampled, or lines.

    Without lines each sample goes to the nearest point of the grid.

    Args:
        values: Samples, (L_i, C) each.
        times: Time of each sample in seconds, (L_i,) each, increasing.
        rate: Points of the grid per second.
        names: Name of each series, for errors.
        origin: The file, for errors.
        lines: Whether points have the values of straight lines between the samples, as `lines_at` draws them.

    Returns:
        Values and times of the points.

    Raises:
        ValueError: two samples at one point, or a grid with far more points than there are samples.

    Example:
        >>> rows, times = on_grid([np.array([[1.0], [2.0]])], [np.array([0.0, 2.0])], 1.0, ["a"], "toy.csv")
        >>> rows[0][:, 0].tolist(), times[0].tolist()
        ([1.0, nan, 2.0], [0.0, 1.0, 2.0])
    """
    filled, points = [], []
    for one, at, name in zip(values, times, names, strict=True):
        place = np.round((at - at[0]) * rate).astype(np.int64)
        twice = np.flatnonzero((np.diff(place) == 0) & (not lines))
        if len(twice):
            k = int(twice[0])
            raise ValueError(
                f"series {name!r} of {origin} has two samples, {at[k + 1] - at[k]:g} s apart, at one point of a grid "
                f"of {rate:g} Hz; give a higher sample_rate"
            )
        size = int(place[-1]) + 1
        if size > _EMPTY * len(one) + 1000:
            raise ValueError(
                f"series {name!r} of {origin} has {len(one)} samples and would have {size} on a grid of {rate:g} Hz; "
                "give a lower sample_rate, or cut it into several series"
            )
        points.append(at[0] + np.arange(size) / rate)
        if lines:
            filled.append(lines_at(one, at, points[-1]))
            continue
        row = np.full((size, one.shape[1]), np.nan)
        row[place] = one
        filled.append(row)
    return filled, points
