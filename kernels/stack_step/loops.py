"""A sample through a whole model in one compiled call: weights from one array, states in rows, nothing else read.

Some streams at a time go through the layers together, so that weights come from memory once for all of them and rows
of states once for each sample. Inputs of the layers lie in one array of scratch, a row a stream.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from seqkit.kernels.stack_step.layout import (
    BLOCKS,
    CHANNELS,
    ENCODER,
    HEAD,
    HELD,
    INPUTS,
    KIND,
    LANES,
    MEAN,
    MOST,
    N_BLOCKS,
    N_LEVELS,
    NORM,
    OFFSET,
    OWN_NORM,
    PADDED,
    POOL,
    READS,
    RECORD,
    SCALE,
    SHARES,
    STD,
    WIDE,
    WIDTH,
    M,
)
from seqkit.kernels.stack_step.maps.loops import leave, multiply, normalise
from seqkit.kernels.stack_step.pools.loops import pooled, shared
from seqkit.kernels.stack_step.systems.loops import dense, pairs, rediscretise_all

__all__ = ["fits", "rediscretise_all", "step_rows"]

Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
TOGETHER = 32  # streams at a time
DENSE = 2


@compiled
def take(T: Array, W: Array, states: Array, rows: Array, x: Array, observed: Array, S: Array, apart: int) -> None:
    """Standardises samples, holds what is missing, and writes what the encoder reads."""
    channels = T[CHANNELS]
    zero, one = W.dtype.type(0), W.dtype.type(1)
    mean, std = W[T[MEAN] : T[MEAN] + channels], W[T[STD] : T[STD] + channels]
    for i in range(len(x)):
        held = states[rows[i], T[HELD] : T[HELD] + channels]
        entered = S[i * apart : i * apart + 2 * channels]
        for c in range(channels):
            there = len(observed) == 0 or observed[i, c]
            if there:
                held[c] = (x[i, c] - mean[c]) / std[c]
            entered[c] = held[c]
            if T[READS]:
                entered[channels + c] = zero if there else one


@compiled
def answer(T: Array, W: Array, found: Array, out: Array) -> None:
    """Writes outputs in their units, or as shares."""
    n_out = len(out)
    scale, offset = W[T[SCALE] : T[SCALE] + n_out], W[T[OFFSET] : T[OFFSET] + n_out]
    for k in range(n_out):
        out[k] = found[k] * scale[k] + offset[k]
    if T[SHARES]:
        highest = out[0]
        for k in range(1, n_out):
            highest = max(highest, out[k])
        total = W.dtype.type(0)
        for k in range(n_out):
            out[k] = math.exp(out[k] - highest)
            total += out[k]
        for k in range(n_out):
            out[k] /= total


@compiled
def fits(T: Array, W: Array, x: Array, observed: Array) -> bool:
    """Whether no standardised value is so large that its square could overflow."""
    channels = T[CHANNELS]
    limit = W.dtype.type(1e15)
    for i in range(len(x)):
        for c in range(channels):
            value = (x[i, c] - W[T[MEAN] + c]) / W[T[STD] + c]
            if not -limit < value < limit and (len(observed) == 0 or observed[i, c]):
                return False
    return True


@compiled
def step_rows(
    T: Array, W: Array, states: Array, rows: Array, x: Array, steps: Array, observed: Array, out: Array
) -> bool:
    """Takes a sample of each of n streams.

    Args:
        T: Sizes and places, from `pack`.
        W: Weights.
        states: Rows of streams, (..., width); changed in place.
        rows: Which of them, (n,), int64.
        x: Samples, (n, C).
        steps: Time since the sample before, (n,), or (0,) for that which the weights are discretised for.
        observed: Which values are there, (n, C), or (0, 0) for all.
        out: Outputs, (n, K); written.

    Returns:
        Whether it was done; False, with nothing changed, where a value is too large for the arithmetic.
    """
    if not fits(T, W, x, observed):
        return False
    n, width, padded = len(x), T[WIDTH], T[PADDED]
    widest = 1
    for block in range(T[N_BLOCKS]):
        widest = max(widest, T[BLOCKS + block * RECORD + M])
    main = T[INPUTS] + -T[INPUTS] % LANES
    u, y = main + padded, main + 2 * padded
    z = y + max(2, widest) * padded
    pool, parts = (z + 2 * padded, T[N_LEVELS] + 2) if T[N_LEVELS] > 0 else (u, 1)
    apart = z + 2 * padded + (parts * padded if parts > 1 else 0)
    together = max(1, min(n, TOGETHER))
    spare = together * apart
    S = np.zeros(spare + T[MOST] + LANES, dtype=W.dtype)
    for first in range(0, n, together):
        last = min(n, first + together)
        m, own = last - first, rows[first:last]
        take(T, W, states, own, x[first:last], observed[first:last], S, apart)
        multiply(W, T[ENCODER], T[ENCODER + 1], S, 0, apart, main, apart, T[INPUTS], padded, m)
        for block in range(T[N_BLOCKS]):
            R = T[BLOCKS + block * RECORD : BLOCKS + (block + 1) * RECORD]
            for i in range(m):
                row = S[main + i * apart : main + i * apart + width]
                normalise(
                    R[OWN_NORM], row, W[R[OWN_NORM + 1] :], W[R[OWN_NORM + 2] :], W[R[OWN_NORM + 3]], S[u + i * apart :]
                )
            if R[KIND] == DENSE:
                dense(R, W, states, own, S, u, y, apart, spare, width, padded, m)
            else:
                pairs(R, W, states, own, steps, S, u, y, first, apart, spare, width, padded, m)
            leave(R, W, S, main, u, y, z, apart, width, padded, m)
        for i in range(m):
            row, result = S[main + i * apart : main + i * apart + width], S[u + i * apart : u + i * apart + width]
            normalise(T[NORM], row, W[T[NORM + 1] :], W[T[NORM + 2] :], W[T[NORM + 3]], result)
            if T[N_LEVELS] > 0:
                shared(T, W, states[own[i]], result, S[pool + i * apart :])
            elif T[POOL] > 0:
                pooled(T[POOL], states[own[i]], result)
        multiply(
            W, T[HEAD], T[HEAD + 1], S, pool, apart, z, apart, parts * padded, out.shape[1] + -out.shape[1] % WIDE, m
        )
        for i in range(m):
            answer(T, W, S[z + i * apart :], out[first + i])
    return True
