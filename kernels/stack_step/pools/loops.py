"""Pooling over time: what is kept at the front of a stream's row, and what comes out so far."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from seqkit.kernels.stack_step.layout import (
    FARTHEST,
    LEVELS,
    N_LEVELS,
    PADDED,
)
from seqkit.kernels.stack_step.pointwise.loops import sigmoid

__all__ = ["pooled", "shared"]

Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
MEAN_POOL, LAST_POOL = 1, 2


@compiled
def pooled(kind: int, row: Array, x: Array) -> None:
    """Takes a sample into the pooled value at the front of a row, and puts that into x."""
    width = len(x)
    kept = row[: 8 * (width + 1) // row.itemsize].view(np.float64)
    seen = kept[width] + 1.0
    kept[width] = seen
    if kind == MEAN_POOL:
        for h in range(width):
            kept[h] += x[h]
            x[h] = x.dtype.type(kept[h] / seen)
    elif kind == LAST_POOL or seen == 1.0:
        for h in range(width):
            kept[h] = x[h]
    else:
        for h in range(width):
            kept[h] = max(kept[h], np.float64(x[h]))
            x[h] = x.dtype.type(kept[h])


@compiled
def shared(T: Array, W: Array, row: Array, x: Array, out: Array) -> None:
    """Takes a sample into sums and maxima at the front of a row, and writes what is pooled by levels, part by part."""
    width, padded, count = len(x), T[PADDED], T[N_LEVELS]
    values = (count + 2) * width
    kept = row[: 8 * (values + 1) // row.itemsize].view(np.float64)
    seen = kept[values] + 1.0
    kept[values] = seen
    place, limit = T[LEVELS], W[T[FARTHEST]]
    unit = W[place + 2 * count * padded : place + 2 * count * padded + width]
    for part in range(count + 2):
        own, result = kept[part * width : (part + 1) * width], out[part * padded : part * padded + width]
        if part < count:
            slope = W[place + part * padded : place + part * padded + width]
            offset = W[place + (count + part) * padded : place + (count + part) * padded + width]
            for h in range(width):
                result[h] = sigmoid(x[h] * slope[h] + offset[h])
        else:
            for h in range(width):
                result[h] = x[h] / unit[h]
        if part <= count:
            for h in range(width):
                own[h] += result[h]
                result[h] = own[h] / seen
        else:
            for h in range(width):
                own[h] = result[h] if seen == 1.0 else max(own[h], np.float64(result[h]))
                result[h] = own[h]
        middle = place + (2 * count + 1 + part) * padded
        centre, scale = (
            W[middle : middle + width],
            W[middle + (count + 2) * padded : middle + (count + 2) * padded + width],
        )
        for h in range(width):
            result[h] = min(max((result[h] - centre[h]) / scale[h], -limit), limit)
