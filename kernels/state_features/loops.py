"""The compiled loops of the features: blocks of 32 filters through series, one after the other."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from seqkit.kernels.state_features.lanes.loops import (
    DECAY,
    EXTRA,
    GROUP,
    HALF,
    HIGHEST,
    INPUT,
    LAST,
    LEAST,
    MANY,
    MIX,
    OUTPUT,
    PREVIOUS,
    SCALE,
    STATE,
    W,
    gain,
    gains,
    is_plain,
    mixed,
    step,
    unmixed,
)
from seqkit.kernels.state_features.many.loops import run
from seqkit.kernels.state_features.pooling.loops import (
    emptied,
    pooled,
    pooled_further,
    pooled_second,
    rows_of,
)

__all__ = ["carry_series", "sampled_blocks", "whole_series"]

MOST_PARTS = 64
STATE_ROWS = 11  # what a stream keeps: the four stages (real and imaginary), previous input, maximum, last output
CHUNK = 128  # samples whose shares are counted in float32 before they join the totals in float64
Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})


@compiled
def parts_of(span: float) -> int:
    """Number of parts of a step: none longer than a training step, unless that takes more than 64."""
    return min(MOST_PARTS, max(1, math.ceil(span - 1e-6)))


@compiled
def most_rows(steps: Array, waiting: float) -> int:
    """Bound on the rows that `take_rows` writes, `waiting` being the time since the last sample that was kept.

    Steps that pass without a value are joined to the next one, whose parts are then at most one more than theirs: each
    is rounded by itself.
    """
    total = parts_of(waiting) + len(steps) // 2 + 1
    for k in range(len(steps)):
        total += parts_of(steps[k])
    return total


@compiled
def take_rows(values: Array, steps: Array, held: Array, clock: Array, rows: Array, spans: Array) -> int:
    """Keeps the samples with an observed channel; writes held values and their slopes, and the time each row closes.

    A long step goes by a straight line, in parts. `held` (C,) is NaN until a channel is seen; `clock` holds the
    observed time and the time since the last kept sample. Returns the number of rows.
    """
    channels = values.shape[1]
    count = 0
    for k in range(values.shape[0]):
        clock[1] += steps[k]
        some = False
        for c in range(channels):
            if not math.isnan(values[k, c]):
                some = True
        if not some:
            continue
        parts = parts_of(clock[1])
        part = clock[1] / parts
        for c in range(channels):
            new, old = values[k, c], held[c]
            if math.isnan(new):
                new = old
            if math.isnan(new):
                new = old = np.float32(0)
            elif math.isnan(old):
                old = new
                held[c] = new
            else:
                held[c] = new
            slope = (new - old) / clock[1]
            for j in range(parts):
                rows[count + j, c] = new if j == parts - 1 else old + (new - old) * (j + 1) / parts
                rows[count + j, channels + c] = slope
        for j in range(parts):
            spans[count + j] = part
        count += parts
        clock[0] += clock[1]
        clock[1] = 0.0
    return count


@compiled
def loaded(stages: int, system: Array, mix: Array, limits: Array) -> Array:
    """The lanes of a block of filters at rest: P with its parameters and thresholds."""
    n_thresholds = limits.shape[0]
    P = np.zeros(W * (EXTRA + 2 * max(0, n_thresholds - GROUP)), dtype=np.float32)
    for r in range(4):
        for w in range(W):
            P[W * (DECAY + r) + w] = system[r, w]
    for w in range(W):
        unit = max(LEAST, gain(P[W * DECAY + w], 1.0))
        P[W * SCALE + w] = unit
        for _ in range(stages - 1):
            P[W * SCALE + w] *= unit
        P[W * MIX + w] = mix[0, w] * P[W * SCALE + w]
    unmixed(P)
    for t in range(n_thresholds):
        for w in range(W):
            P[W * rows_of(t)[0] + w] = limits[t, w]
    return P


@compiled
def run_block(
    P: Array,
    N: Array,
    known: float,
    stages: int,
    first: int,
    mix: Array,
    rows: Array,
    spans: Array,
    count: int,
    fresh: bool,
    totals: Array,
    trace: Array,
) -> float:
    """Takes `count` samples into the lanes and totals of one block.

    Args:
        P: Lanes, read and written.
        N: Samples above each level since the last chunk, int32, zeros before and after.
        known: Span that the gains in P are for, or -1.
        stages: Stages of each filter of the block.
        first: Column of `rows` where the block's input starts: values or slopes.
        mix: Weights of the channels, (C, 32).
        rows: Values and slopes, (count, 2 C).
        spans: Time that each sample closes.
        count: Number of samples.
        fresh: Whether nothing has been seen before.
        totals: Time above each threshold, then the integral of the output, (T + 1, 32), float64, added to.
        trace: Where each output is written, (count, 32), or (0, 32).

    Returns:
        The span that the gains in P are for now.
    """
    n_thresholds = totals.shape[0] - 1
    extra, several = n_thresholds - GROUP, mix.shape[0] > 1
    plain = is_plain(P)
    k, since, n, counted = 0, 0, 1, False
    while k < count:
        if spans[k] != known:
            if counted:
                emptied(P, N, known, totals, n_thresholds)
                since, counted = 0, False
            known = spans[k]
            gains(P, known)
            plain = is_plain(P)
        span = np.float32(known)
        if fresh and k == 0:
            if several:
                mixed(P, rows, 0, first, mix)
            for w in range(W):
                P[W * PREVIOUS + w] = P[W * MIX + w] * rows[0, first] + P[W * INPUT + w]
        stop, most = k + 1, min(count, k + CHUNK - since)
        while plain and stop < most and spans[stop] == known:
            stop += 1
        if stop - k >= MANY:
            after = run(P, N, stages, rows, k, stop, first, mix, span, extra, trace)
            since += after - k
            k, n, counted = after, MANY, True
        else:
            if several:
                mixed(P, rows, k, first, mix)
            step(P, stages, rows, k, first)
            pooled(P, span)
            if n_thresholds > HALF:
                pooled_second(P, span)
            if extra > 0:
                pooled_further(P, span, 1, extra)
            if trace.shape[0] > 0:
                for w in range(W):
                    trace[k, w] = P[W * OUTPUT + w]
            k, n = k + 1, 1
            since += 1
        if since >= CHUNK or k == count:
            emptied(P, N, known, totals, n_thresholds)
            since, counted = 0, False
    if count > 0:
        for w in range(W):
            P[W * LAST + w] = P[W * (OUTPUT + n - 1) + w]
    return known


@compiled
def read_block(highest: Array, last: Array, totals: Array, order: Array, time: float, out: Array) -> None:
    """Writes shares, maximum, mean and last output of one block to its filters' rows of `out` (F, T + 3)."""
    n_thresholds = totals.shape[0] - 1
    for w in range(W):
        f = order[w]
        if f < 0:
            continue
        if not time > 0:
            out[f, :] = np.nan
            continue
        for t in range(n_thresholds):
            out[f, t] = totals[t, w] / time
        out[f, n_thresholds] = highest[w]
        out[f, n_thresholds + 1] = totals[n_thresholds, w] / time
        out[f, n_thresholds + 2] = last[w]


@compiled
def whole_series(
    kind: Array,
    order: Array,
    system: Array,
    mix: Array,
    limits: Array,
    values: Array,
    steps: Array,
    lengths: Array,
    out: Array,
) -> None:
    """Features of whole series: block by block, so that all series share what is set up for a block."""
    n_series, channels = len(values), values.shape[2]
    most = 0
    for i in range(n_series):
        most = max(most, most_rows(steps[i, : lengths[i]], 0.0))
    rows = np.empty((n_series, most, 2 * channels), dtype=np.float32)
    spans = np.empty((n_series, most))
    counts = np.empty(n_series, dtype=np.int64)
    times = np.empty(n_series)
    held = np.empty(channels, dtype=np.float32)
    clock = np.empty(2)
    for i in range(n_series):
        held[:] = np.nan
        clock[:] = 0.0
        end = lengths[i]
        counts[i] = take_rows(values[i, :end], steps[i, :end], held, clock, rows[i], spans[i])
        times[i] = clock[0]
    nowhere = np.empty((0, W), dtype=np.float32)
    totals = np.empty((limits.shape[1] + 1, W))
    counts_above = np.zeros(W * GROUP, dtype=np.int32)
    for b in range(kind.shape[0]):
        P = loaded(kind[b, 0], system[b], mix[b], limits[b])
        known = -1.0
        first = channels * kind[b, 1]
        for i in range(n_series):
            for r in range(W * STATE, W * INPUT):
                P[r] = 0.0  # a new series
            for w in range(W):
                P[W * HIGHEST + w] = -np.inf
            totals[:] = 0.0
            given = mix[b], rows[i], spans[i], counts[i], True
            known = run_block(P, counts_above, known, kind[b, 0], first, *given, totals, nowhere)
            highest, last = P[W * HIGHEST : W * LAST], P[W * LAST : W * INPUT]
            read_block(highest, last, totals, order[b], times[i], out[i])


@compiled
def sampled_blocks(
    kind: Array,
    order: Array,
    system: Array,
    mix: Array,
    limits: Array,
    values: Array,
    steps: Array,
    lengths: Array,
    chosen: Array,
    out: Array,
) -> None:
    """Writes outputs of each filter over one series to `out` (F, most): evenly spread ones, where there are more.

    `chosen` (K, G) has the series for each of G equal parts of the lanes of a block; the rest of `out` stays.
    """
    channels, parts, most = values.shape[2], chosen.shape[1], out.shape[1]
    longest = 0
    for i in range(len(values)):
        longest = max(longest, most_rows(steps[i, : lengths[i]], 0.0))
    rows = np.empty((longest, 2 * channels), dtype=np.float32)
    spans = np.empty(longest)
    trace = np.empty((longest, W), dtype=np.float32)
    held = np.empty(channels, dtype=np.float32)
    clock = np.empty(2)
    totals = np.empty((limits.shape[1] + 1, W))
    counts_above = np.zeros(W * GROUP, dtype=np.int32)
    for b in range(kind.shape[0]):
        for g in range(parts):
            i = chosen[b, g]
            held[:] = np.nan
            clock[:] = 0.0
            count = take_rows(values[i, : lengths[i]], steps[i, : lengths[i]], held, clock, rows, spans)
            P = loaded(kind[b, 0], system[b], mix[b], limits[b])
            run_block(
                P,
                counts_above,
                -1.0,
                kind[b, 0],
                channels * kind[b, 1],
                mix[b],
                rows,
                spans,
                count,
                True,
                totals,
                trace,
            )
            stride = max(1, (count + most - 1) // most)
            for w in range(g * W // parts, (g + 1) * W // parts):
                f = order[b, w]
                if f >= 0:
                    for k in range((count + stride - 1) // stride):
                        out[f, k] = trace[k * stride, w]


@compiled
def carry_series(
    kind: Array,
    order: Array,
    system: Array,
    mix: Array,
    limits: Array,
    values: Array,
    steps: Array,
    memory: Array,
    totals: Array,
    held: Array,
    clock: Array,
    trace: Array,
    out: Array,
) -> int:
    """Takes further samples of one series into its state, writes its features so far, returns the number of rows."""
    channels = values.shape[1]
    most = most_rows(steps, clock[1])
    rows = np.empty((most, 2 * channels), dtype=np.float32)
    spans = np.empty(most)
    fresh = clock[0] == 0
    count = take_rows(values, steps, held, clock, rows, spans)
    nowhere = np.empty((0, W), dtype=np.float32)
    counts_above = np.zeros(W * GROUP, dtype=np.int32)
    for b in range(kind.shape[0]):
        if count > 0:
            P = loaded(kind[b, 0], system[b], mix[b], limits[b])
            for r in range(STATE_ROWS):
                for w in range(W):
                    P[W * (STATE + r) + w] = memory[b, r, w]
            written = trace[b] if trace.shape[0] > 0 else nowhere
            first = channels * kind[b, 1]
            run_block(P, counts_above, -1.0, kind[b, 0], first, mix[b], rows, spans, count, fresh, totals[b], written)
            for r in range(STATE_ROWS):
                for w in range(W):
                    memory[b, r, w] = P[W * (STATE + r) + w]
        highest, last = memory[b, HIGHEST - STATE], memory[b, LAST - STATE]
        read_block(highest, last, totals[b], order[b], clock[0], out)
    return count
