"""Which windows were cut from one recording: those that share samples with the window before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqkit.datasets.series import Array

__all__ = ["recordings"]

_LOOK = 8
"""Samples compared everywhere before the whole overlap is, to rule most places out."""


def recordings(values: Sequence[Array], *, at_least: int) -> Array:
    """Number of the recording that each window was cut from, where windows of a recording follow and overlap.

    A window belongs to the recording of the window before it if its beginning is that one's end, to the last digit.

    Args:
        values: Windows (L, C), in the order of the file.
        at_least: Samples that must be shared, 1 to L.

    Returns:
        Numbers from 0 on, (n,), rising.

    Cost:
        O(n L C); windows that stay at one value for long take more.

    Example:
        >>> signal = np.random.default_rng(0).normal(size=(60, 1))
        >>> recordings([signal[:20], signal[5:25], signal[30:50], signal[35:55]], at_least=10).tolist()
        [0, 0, 1, 1]
    """
    numbers = np.zeros(len(values), dtype=np.int64)
    before = values[0]
    for i in range(1, len(values)):
        window = values[i]
        numbers[i] = numbers[i - 1] + (not _continues(before, window, at_least))
        before = window
    return numbers


def _continues(before: Array, window: Array, at_least: int) -> bool:
    look = min(_LOOK, at_least)
    last = len(before) - at_least
    if last < 0 or len(window) < at_least:
        return False
    starts = np.ones(last + 1, dtype=bool)
    for k in range(look):
        starts &= (before[k : k + last + 1] == window[k]).all(axis=1)
    for start in np.flatnonzero(starts):
        shared = min(len(before) - start, len(window))
        if np.array_equal(before[start : start + shared], window[:shared]):
            return True
    return False
