"""A run of samples that each close a training step through 32 filters side by side, four at a time."""

from __future__ import annotations

from typing import Any

import numba
import numpy.typing as npt

from seqkit.kernels.state_features.lanes.loops import HALF, INPUT, MANY, OUTPUT, SCALE, TINY, W
from seqkit.kernels.state_features.many.stages.loops import (
    four_stages_many,
    one_stage_many,
    three_stages_many,
    two_stages_many,
)
from seqkit.kernels.state_features.pooling.loops import pooled_further, pooled_many, pooled_second_many

__all__ = ["run"]

Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})


@compiled
def mixed_many(P: Array, rows: Array, k: int, first: int, mix: Array) -> None:
    """Writes what the second channel and those after it bring each lane at samples k to k + 3."""
    at = first + 1
    v0, v1, v2, v3 = rows[k, at], rows[k + 1, at], rows[k + 2, at], rows[k + 3, at]
    for w in range(W):
        share, rest = mix[1, w] * P[W * SCALE + w], TINY * P[W * SCALE + w]
        P[W * INPUT + w] = share * v0 + rest
        P[W * (INPUT + 1) + w] = share * v1 + rest
        P[W * (INPUT + 2) + w] = share * v2 + rest
        P[W * (INPUT + 3) + w] = share * v3 + rest
    for c in range(2, mix.shape[0]):
        at = first + c
        v0, v1, v2, v3 = rows[k, at], rows[k + 1, at], rows[k + 2, at], rows[k + 3, at]
        for w in range(W):
            share = mix[c, w] * P[W * SCALE + w]
            P[W * INPUT + w] += share * v0
            P[W * (INPUT + 1) + w] += share * v1
            P[W * (INPUT + 2) + w] += share * v2
            P[W * (INPUT + 3) + w] += share * v3


@compiled
def traced(P: Array, trace: Array, k: int) -> None:
    """Writes four outputs."""
    for j in range(MANY):
        for w in range(W):
            trace[k + j, w] = P[W * (OUTPUT + j) + w]


@compiled
def one_run(
    P: Array, N: Array, rows: Array, k: int, stop: int, first: int, mix: Array, span: Any, extra: int, trace: Array
) -> int:
    """`run` for one stage."""
    several, second = mix.shape[0] > 1, extra > -HALF
    while k + MANY <= stop:
        if several:
            mixed_many(P, rows, k, first, mix)
        one_stage_many(P, rows[k, first], rows[k + 1, first], rows[k + 2, first], rows[k + 3, first])
        pooled_many(P, N, span)
        if second:
            pooled_second_many(P, N)
        if extra > 0:
            pooled_further(P, span, MANY, extra)
        if trace.shape[0] > 0:
            traced(P, trace, k)
        k += MANY
    return k


@compiled
def two_run(
    P: Array, N: Array, rows: Array, k: int, stop: int, first: int, mix: Array, span: Any, extra: int, trace: Array
) -> int:
    """`run` for two stages."""
    several, second = mix.shape[0] > 1, extra > -HALF
    while k + MANY <= stop:
        if several:
            mixed_many(P, rows, k, first, mix)
        two_stages_many(P, rows[k, first], rows[k + 1, first], rows[k + 2, first], rows[k + 3, first])
        pooled_many(P, N, span)
        if second:
            pooled_second_many(P, N)
        if extra > 0:
            pooled_further(P, span, MANY, extra)
        if trace.shape[0] > 0:
            traced(P, trace, k)
        k += MANY
    return k


@compiled
def three_run(
    P: Array, N: Array, rows: Array, k: int, stop: int, first: int, mix: Array, span: Any, extra: int, trace: Array
) -> int:
    """`run` for three stages."""
    several, second = mix.shape[0] > 1, extra > -HALF
    while k + MANY <= stop:
        if several:
            mixed_many(P, rows, k, first, mix)
        three_stages_many(P, rows[k, first], rows[k + 1, first], rows[k + 2, first], rows[k + 3, first])
        pooled_many(P, N, span)
        if second:
            pooled_second_many(P, N)
        if extra > 0:
            pooled_further(P, span, MANY, extra)
        if trace.shape[0] > 0:
            traced(P, trace, k)
        k += MANY
    return k


@compiled
def four_run(
    P: Array, N: Array, rows: Array, k: int, stop: int, first: int, mix: Array, span: Any, extra: int, trace: Array
) -> int:
    """`run` for four stages."""
    several, second = mix.shape[0] > 1, extra > -HALF
    while k + MANY <= stop:
        if several:
            mixed_many(P, rows, k, first, mix)
        four_stages_many(P, rows[k, first], rows[k + 1, first], rows[k + 2, first], rows[k + 3, first])
        pooled_many(P, N, span)
        if second:
            pooled_second_many(P, N)
        if extra > 0:
            pooled_further(P, span, MANY, extra)
        if trace.shape[0] > 0:
            traced(P, trace, k)
        k += MANY
    return k


@compiled
def run(
    P: Array,
    N: Array,
    stages: int,
    rows: Array,
    k: int,
    stop: int,
    first: int,
    mix: Array,
    span: Any,
    extra: int,
    trace: Array,
) -> int:
    """Takes samples k to stop - 1 in fours through a block and into its statistics; returns the first that is left.

    Args:
        P: Lanes, of which row H is 1 throughout.
        N: Samples above each of the first eight levels, added to.
        stages: Stages of each filter.
        rows: Values and slopes of the samples.
        k: First sample.
        stop: Sample after the last.
        first: Column of `rows` where the block's input starts.
        mix: Weights of the channels, (C, 32).
        span: Time that each sample closes.
        extra: Levels beyond eight; below 0 for fewer, and -4 or less for at most four.
        trace: Where outputs are written, or (0, 32).
    """
    if stages == 1:
        return one_run(P, N, rows, k, stop, first, mix, span, extra, trace)
    if stages == 2:
        return two_run(P, N, rows, k, stop, first, mix, span, extra, trace)
    if stages == 3:
        return three_run(P, N, rows, k, stop, first, mix, span, extra, trace)
    return four_run(P, N, rows, k, stop, first, mix, span, extra, trace)
