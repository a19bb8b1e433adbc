"""Outputs of a block to its statistics: integral, maximum, and times above the thresholds."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from seqkit.kernels.state_features.lanes.loops import COUNTS, EXTRA, GROUP, HIGHEST, LIMITS, OUTPUT, SUM, W

__all__ = ["emptied", "pooled", "pooled_further", "pooled_many", "pooled_second", "pooled_second_many", "rows_of"]

Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
inlined = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, inline="always")


@compiled
def pooled(P: Array, span: Any) -> None:
    """Adds the outputs of one sample to the statistics of the chunk; all of them in one loop, which becomes vectors."""
    for w in range(W):
        y, top = P[W * OUTPUT + w], P[W * HIGHEST + w]
        P[W * SUM + w] += span * y
        P[W * HIGHEST + w] = y if y > top else top
        P[W * COUNTS + w] += span * np.float32(y > P[W * LIMITS + w])
        P[W * (COUNTS + 1) + w] += span * np.float32(y > P[W * (LIMITS + 1) + w])
        P[W * (COUNTS + 2) + w] += span * np.float32(y > P[W * (LIMITS + 2) + w])
        P[W * (COUNTS + 3) + w] += span * np.float32(y > P[W * (LIMITS + 3) + w])


@compiled
def above(y0: Any, y1: Any, y2: Any, y3: Any, limit: Any) -> Any:
    """How many of four outputs lie above a level; whole numbers of 32 bits throughout, which add up in one step."""
    first = np.int32(np.int32(y0 > limit) + np.int32(y1 > limit))
    return np.int32(first + np.int32(np.int32(y2 > limit) + np.int32(y3 > limit)))


@inlined
def pooled_many(P: Array, N: Array, span: Any) -> None:
    """Adds four outputs to the integral and the maximum, and counts in N those above the first four levels."""
    for w in range(W):
        y0, y1 = P[W * OUTPUT + w], P[W * (OUTPUT + 1) + w]
        y2, y3 = P[W * (OUTPUT + 2) + w], P[W * (OUTPUT + 3) + w]
        P[W * SUM + w] += span * ((y0 + y1) + (y2 + y3))
        P[W * HIGHEST + w] = max(max(y0, y1), max(max(y2, y3), P[W * HIGHEST + w]))
    for w in range(W):
        y0, y1 = P[W * OUTPUT + w], P[W * (OUTPUT + 1) + w]
        y2, y3 = P[W * (OUTPUT + 2) + w], P[W * (OUTPUT + 3) + w]
        N[w] = np.int32(N[w] + above(y0, y1, y2, y3, P[W * LIMITS + w]))
        N[W + w] = np.int32(N[W + w] + above(y0, y1, y2, y3, P[W * (LIMITS + 1) + w]))
        N[W * 2 + w] = np.int32(N[W * 2 + w] + above(y0, y1, y2, y3, P[W * (LIMITS + 2) + w]))
        N[W * 3 + w] = np.int32(N[W * 3 + w] + above(y0, y1, y2, y3, P[W * (LIMITS + 3) + w]))


@compiled
def pooled_second(P: Array, span: Any) -> None:
    """Adds the outputs of one sample to the times above the fifth to eighth threshold."""
    for w in range(W):
        y = P[W * OUTPUT + w]
        P[W * (COUNTS + 4) + w] += span * np.float32(y > P[W * (LIMITS + 4) + w])
        P[W * (COUNTS + 5) + w] += span * np.float32(y > P[W * (LIMITS + 5) + w])
        P[W * (COUNTS + 6) + w] += span * np.float32(y > P[W * (LIMITS + 6) + w])
        P[W * (COUNTS + 7) + w] += span * np.float32(y > P[W * (LIMITS + 7) + w])


@inlined
def pooled_second_many(P: Array, N: Array) -> None:
    """Counts in N the four outputs above the fifth to eighth level."""
    for w in range(W):
        y0, y1 = P[W * OUTPUT + w], P[W * (OUTPUT + 1) + w]
        y2, y3 = P[W * (OUTPUT + 2) + w], P[W * (OUTPUT + 3) + w]
        N[W * 4 + w] = np.int32(N[W * 4 + w] + above(y0, y1, y2, y3, P[W * (LIMITS + 4) + w]))
        N[W * 5 + w] = np.int32(N[W * 5 + w] + above(y0, y1, y2, y3, P[W * (LIMITS + 5) + w]))
        N[W * 6 + w] = np.int32(N[W * 6 + w] + above(y0, y1, y2, y3, P[W * (LIMITS + 6) + w]))
        N[W * 7 + w] = np.int32(N[W * 7 + w] + above(y0, y1, y2, y3, P[W * (LIMITS + 7) + w]))


@compiled
def pooled_further(P: Array, span: Any, n: int, extra: int) -> None:
    """Adds `n` outputs to the times above the ninth threshold and those after it."""
    for t in range(extra):
        limit, count = W * (EXTRA + 2 * t), W * (EXTRA + 2 * t + 1)
        for j in range(n):
            row = W * (OUTPUT + j)
            for w in range(W):
                P[count + w] += span * np.float32(P[row + w] > P[limit + w])


@compiled
def rows_of(t: int) -> tuple[int, int]:
    """Rows of threshold t: its level, and the time above it."""
    if t < GROUP:
        return LIMITS + t, COUNTS + t
    return EXTRA + 2 * (t - GROUP), EXTRA + 2 * (t - GROUP) + 1


@compiled
def emptied(P: Array, N: Array, span: Any, totals: Array, n_thresholds: int) -> None:
    """Moves the statistics of a chunk to the totals in float64; N counts samples of `span` each."""
    for w in range(W):
        totals[n_thresholds, w] += P[W * SUM + w]
        P[W * SUM + w] = 0.0
    for t in range(n_thresholds):
        count = W * rows_of(t)[1]
        for w in range(W):
            totals[t, w] += P[count + w]
            P[count + w] = 0.0
    for t in range(min(n_thresholds, GROUP)):
        for w in range(W):
            totals[t, w] += span * N[W * t + w]
            N[W * t + w] = 0
