"""From times of samples to a sample rate, where the samples are even."""

from __future__ import annotations

import numpy as np

from seqkit.datasets.series import Array

__all__ = ["sampling"]

TOLERANCE = 0.05
"""Largest part by which a step may differ from the median one and count as even: times are often rounded."""


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
