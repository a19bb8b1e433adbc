"""Norms, maps and activations of a block, on rows of scratch."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from seqkit.kernels.stack_step.layout import (
    ACTIVATION,
    MIX,
    OUT,
    OUTPUT,
    SKIP,
    WIDE,
    M,
)
from seqkit.kernels.stack_step.pointwise.loops import gelu, sigmoid
from seqkit.kernels.stack_step.tiles.loops import (
    product,
    product_of_four_rows,
    product_of_two_tiles,
)

__all__ = ["activate", "leave", "multiply", "normalise"]

Array = npt.NDArray[Any]
FLAGS = {"contract", "nsz"}
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FLAGS)
summed = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={*FLAGS, "reassoc"})
LAYER = 1
GELU, RELU, SILU = 1, 2, 3
GATED = 2


@summed
def mean_of(x: Array) -> Any:
    """Mean of a few numbers."""
    total = x.dtype.type(0)
    for k in range(len(x)):
        total += x[k]
    return total / x.dtype.type(len(x))


@summed
def spread_of(x: Array, center: Any) -> Any:
    """Mean square of the distances from a number."""
    total = x.dtype.type(0)
    for k in range(len(x)):
        total += (x[k] - center) * (x[k] - center)
    return total / x.dtype.type(len(x))


@compiled
def normalise(kind: int, x: Array, weight: Array, bias: Array, eps: Any, out: Array) -> None:
    """Writes a normalised row; `x` has the true width, `out` may be longer."""
    one = x.dtype.type(1)
    if kind == 0:
        for k in range(len(x)):
            out[k] = x[k]
        return
    center = mean_of(x) if kind == LAYER else x.dtype.type(0)
    scale = one / np.sqrt(spread_of(x, center) + eps)
    for k in range(len(x)):
        out[k] = (x[k] - center) * scale * weight[k] + bias[k]


@compiled
def multiply(
    W: Array, weight: int, bias: int, S: Array, x: int, ahead: int, y: int, after: int, n_in: int, n_out: int, m: int
) -> None:
    """Maps m rows of scratch from place x to place y; rows lie `ahead` and `after` numbers from each other."""
    one = W.dtype.type(1)
    size = W.itemsize
    base, numbers = S.ctypes.data, W.ctypes.data
    tiles, half = n_out // WIDE, WIDE // 2 * size
    for tile in range(tiles):
        w, start = numbers + size * (weight + tile * WIDE * n_in), numbers + size * (bias + tile * WIDE)
        for row in range(0, m - 3, 4):
            source, target = base + size * (x + row * ahead), base + size * (y + row * after + tile * WIDE)
            product_of_four_rows(w, source, ahead, start, target, after, n_in, one)
            product_of_four_rows(w + half, source, ahead, start + half, target + half, after, n_in, one)
        for row in range(m - m % 4, m):
            source, target = base + size * (x + row * ahead), base + size * (y + row * after + tile * WIDE)
            if tile % 2 == 1:
                continue
            if tile + 1 < tiles:
                product_of_two_tiles(w, source, ahead, start, target, after, n_in, one)
            else:
                product(w, source, ahead, start, target, after, n_in, one)


@compiled
def activate(kind: int, x: Array) -> None:
    """Applies an activation in place."""
    zero = x.dtype.type(0)
    if kind == GELU:
        for k in range(len(x)):
            x[k] = gelu(x[k])
    elif kind == RELU:
        for k in range(len(x)):
            x[k] = max(x[k], zero)
    elif kind == SILU:
        for k in range(len(x)):
            x[k] = x[k] * sigmoid(x[k])


@compiled
def leave(
    T: Array, W: Array, S: Array, main: int, u: int, y: int, z: int, apart: int, width: int, padded: int, m: int
) -> None:
    """From a system's outputs, y, to what the block adds to the residual stream."""
    outputs = T[M]
    for i in range(m):
        drive = S[u + i * apart : u + i * apart + width]
        for k in range(outputs):
            skip = W[T[SKIP] + k * padded : T[SKIP] + k * padded + width]
            out = S[y + i * apart + k * padded : y + i * apart + k * padded + width]
            for h in range(width):
                out[h] += skip[h] * drive[h]
        if T[MIX] >= 0:
            activate(GELU, S[y + i * apart : y + i * apart + outputs * padded])
    place = y
    if T[MIX] >= 0:
        multiply(W, T[MIX], T[MIX + 1], S, y, apart, z, apart, outputs * padded, padded, m)
        place = z
    for i in range(m):
        activate(T[ACTIVATION], S[place + i * apart : place + i * apart + width])
    if T[OUTPUT] > 0:
        source, place = place, z if place == y else y
        wide = 2 * padded if T[OUTPUT] == GATED else padded
        multiply(W, T[OUT], T[OUT + 1], S, source, apart, place, apart, padded, wide, m)
    for i in range(m):
        stream = S[main + i * apart : main + i * apart + width]
        value = S[place + i * apart : place + i * apart + width]
        if T[OUTPUT] == GATED:
            gate = S[place + padded + i * apart : place + padded + i * apart + width]
            for h in range(width):
                stream[h] += value[h] * sigmoid(gate[h])
        else:
            for h in range(width):
                stream[h] += value[h]
