"""Powers of 2 of a tile of scores, compiled: one pass over it, with the sums of its rows."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["power", "weigh"]

FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums may be reordered; NaN and infinity keep their meaning
LOWEST = np.float32(-126)  # below, powers leave float32's normal range, and 0 stands for them
ONE = np.float32(1)
ZERO = np.float32(0)
# Of Cephes' exp2f (Moshier): 2^f = 1 + f (C0 + f (C1 + ...)) for |f| <= 1/2, to 2e-7.
C0, C1, C2 = np.float32(6.931472028550421e-1), np.float32(2.402264791363012e-1), np.float32(5.550332471162809e-2)
C3, C4, C5 = np.float32(9.618437357674640e-3), np.float32(1.339887440266574e-3), np.float32(1.535336188319500e-4)


@numba.njit(inline="always")
def exp2(x: Any) -> Any:
    """2^x in float32 for x below 128."""
    low = LOWEST if x < LOWEST else x
    whole = np.rint(low)
    f = low - whole
    part = ONE + f * (C0 + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * C5)))))
    scale = np.int32((np.int32(whole) + 127) << 23).view(np.float32)
    return ZERO if x < LOWEST else part * scale


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def weigh(start: int, stop: int, scores: Any, top: Any, sums: Any) -> None:
    """Sets rows start .. stop - 1 of scores (R, T) to 2^(scores - top) and `sums` (R,) to their sums."""
    for r in range(start, stop):
        row, high, total = scores[r], top[r], ZERO
        for t in range(row.shape[0]):
            weight = exp2(row[t] - high)
            row[t] = weight
            total += weight
        sums[r] = total


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def power(start: int, stop: int, scores: Any) -> None:
    """Sets rows start .. stop - 1 of scores (R, T) to 2^scores."""
    for r in range(start, stop):
        row = scores[r]
        for t in range(row.shape[0]):
            row[t] = exp2(row[t])
