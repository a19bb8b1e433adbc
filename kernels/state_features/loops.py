"""The compiled loops of the features: 32 filters side by side, one sample after the other, statistics on the way.

A block of 32 filters of the same kind works in one array `P` of lanes: row r of lane w lies at 32 r + w. With one array
and fixed distances the compiler sees that the rows do not overlap and turns each loop over lanes into vectors.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["carry_series", "whole_series"]

W = 32
A_RE, A_IM, H, DECAY, TURN, C_RE, C_IM, STATE, INPUT, OUTPUT = 0, 1, 2, 3, 4, 5, 6, 7, 18, 19
PREVIOUS, HIGHEST, LAST = STATE + 8, STATE + 9, STATE + 10  # rows 15, 16 and 17
SUM, LIMITS, COUNTS, EXTRA = 20, 21, 25, 29  # four thresholds have fixed rows, further ones follow from EXTRA on
GROUP = 4
MOST_PARTS = 64
STATE_ROWS = 11  # what a stream keeps: the four stages (real and imaginary), previous input, maximum, last output
CHUNK = 128  # samples whose shares are counted in float32 before they join the totals in float64
TINY = np.float32(1e-20)  # keeps a filter at rest above the slow denormal numbers
Array = npt.NDArray[Any]
compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz", "reassoc"})


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
def gains(P: Array, span: Any) -> None:
    """Writes a = exp((i turn - decay) span) and h = tanh(decay span / 2) for a step of `span`."""
    for w in range(W):
        size = math.exp(-P[W * DECAY + w] * span)
        angle = P[W * TURN + w] * span
        P[W * A_RE + w] = np.float32(size * math.cos(angle))
        P[W * A_IM + w] = np.float32(size * math.sin(angle))
        P[W * H + w] = np.float32((1.0 - size) / (1.0 + size))


@compiled
def stage(
    ar: Any, ai: Any, h: Any, sr: Any, si: Any, old_r: Any, old_i: Any, new_r: Any, new_i: Any
) -> tuple[Any, Any]:
    """One leaky integrator: a (s + h v_old) + h v_new."""
    pr, pi = sr + h * old_r, si + h * old_i
    return ar * pr - ai * pi + h * new_r, ar * pi + ai * pr + h * new_i


@compiled
def one_stage(P: Array, value: Any) -> None:
    """A sample through blocks of one stage."""
    zero = np.float32(0)
    for w in range(W):
        ar, ai, h, p = P[w], P[W * A_IM + w], P[W * H + w], P[W * PREVIOUS + w]
        u = P[W * INPUT + w] * value + TINY
        r, i = stage(ar, ai, h, P[W * STATE + w], P[W * (STATE + 1) + w], p, zero, u, zero)
        P[W * STATE + w] = r
        P[W * (STATE + 1) + w] = i
        P[W * PREVIOUS + w] = u
        P[W * OUTPUT + w] = P[W * C_RE + w] * r - P[W * C_IM + w] * i


@compiled
def two_stages(P: Array, value: Any) -> None:
    """A sample through blocks of two stages."""
    zero = np.float32(0)
    for w in range(W):
        ar, ai, h, p = P[w], P[W * A_IM + w], P[W * H + w], P[W * PREVIOUS + w]
        u = P[W * INPUT + w] * value + TINY
        r0, i0 = P[W * STATE + w], P[W * (STATE + 1) + w]
        n0, j0 = stage(ar, ai, h, r0, i0, p, zero, u, zero)
        n1, j1 = stage(ar, ai, h, P[W * (STATE + 2) + w], P[W * (STATE + 3) + w], r0, i0, n0, j0)
        P[W * STATE + w] = n0
        P[W * (STATE + 1) + w] = j0
        P[W * (STATE + 2) + w] = n1
        P[W * (STATE + 3) + w] = j1
        P[W * PREVIOUS + w] = u
        P[W * OUTPUT + w] = P[W * C_RE + w] * n1 - P[W * C_IM + w] * j1


@compiled
def three_stages(P: Array, value: Any) -> None:
    """A sample through blocks of three stages."""
    zero = np.float32(0)
    for w in range(W):
        ar, ai, h, p = P[w], P[W * A_IM + w], P[W * H + w], P[W * PREVIOUS + w]
        u = P[W * INPUT + w] * value + TINY
        r0, i0 = P[W * STATE + w], P[W * (STATE + 1) + w]
        r1, i1 = P[W * (STATE + 2) + w], P[W * (STATE + 3) + w]
        n0, j0 = stage(ar, ai, h, r0, i0, p, zero, u, zero)
        n1, j1 = stage(ar, ai, h, r1, i1, r0, i0, n0, j0)
        n2, j2 = stage(ar, ai, h, P[W * (STATE + 4) + w], P[W * (STATE + 5) + w], r1, i1, n1, j1)
        P[W * STATE + w] = n0
        P[W * (STATE + 1) + w] = j0
        P[W * (STATE + 2) + w] = n1
        P[W * (STATE + 3) + w] = j1
        P[W * (STATE + 4) + w] = n2
        P[W * (STATE + 5) + w] = j2
        P[W * PREVIOUS + w] = u
        P[W * OUTPUT + w] = P[W * C_RE + w] * n2 - P[W * C_IM + w] * j2


@compiled
def four_stages(P: Array, value: Any) -> None:
    """A sample through blocks of four stages."""
    zero = np.float32(0)
    for w in range(W):
        ar, ai, h, p = P[w], P[W * A_IM + w], P[W * H + w], P[W * PREVIOUS + w]
        u = P[W * INPUT + w] * value + TINY
        r0, i0 = P[W * STATE + w], P[W * (STATE + 1) + w]
        r1, i1 = P[W * (STATE + 2) + w], P[W * (STATE + 3) + w]
        r2, i2 = P[W * (STATE + 4) + w], P[W * (STATE + 5) + w]
        n0, j0 = stage(ar, ai, h, r0, i0, p, zero, u, zero)
        n1, j1 = stage(ar, ai, h, r1, i1, r0, i0, n0, j0)
        n2, j2 = stage(ar, ai, h, r2, i2, r1, i1, n1, j1)
        n3, j3 = stage(ar, ai, h, P[W * (STATE + 6) + w], P[W * (STATE + 7) + w], r2, i2, n2, j2)
        P[W * STATE + w] = n0
        P[W * (STATE + 1) + w] = j0
        P[W * (STATE + 2) + w] = n1
        P[W * (STATE + 3) + w] = j1
        P[W * (STATE + 4) + w] = n2
        P[W * (STATE + 5) + w] = j2
        P[W * (STATE + 6) + w] = n3
        P[W * (STATE + 7) + w] = j3
        P[W * PREVIOUS + w] = u
        P[W * OUTPUT + w] = P[W * C_RE + w] * n3 - P[W * C_IM + w] * j3


@compiled
def mixed(P: Array, rows: Array, k: int, first: int, mix: Array) -> Any:
    """Returns what each lane's row INPUT times gives its input: the only channel, or 1 with channels mixed here.

    The count of lanes is read from the array: a loop of known length would be unrolled and not become vectors.
    """
    if mix.shape[0] == 1:
        return rows[k, first]
    lanes = mix.shape[1]
    value = rows[k, first]
    for w in range(lanes):
        P[W * INPUT + w] = mix[0, w] * value
    for c in range(1, mix.shape[0]):
        value = rows[k, first + c]
        for w in range(lanes):
            P[W * INPUT + w] += mix[c, w] * value
    return np.float32(1)


@compiled
def pooled(P: Array, span: Any, extra: int) -> None:
    """Adds the outputs of one sample to the statistics of the chunk; all of them in one loop, which becomes vectors."""
    for w in range(W):
        y, top = P[W * OUTPUT + w], P[W * HIGHEST + w]
        P[W * SUM + w] += span * y
        P[W * HIGHEST + w] = y if y > top else top
        P[W * COUNTS + w] += span * np.float32(y > P[W * LIMITS + w])
        P[W * (COUNTS + 1) + w] += span * np.float32(y > P[W * (LIMITS + 1) + w])
        P[W * (COUNTS + 2) + w] += span * np.float32(y > P[W * (LIMITS + 2) + w])
        P[W * (COUNTS + 3) + w] += span * np.float32(y > P[W * (LIMITS + 3) + w])
    for t in range(extra):
        limit, count = W * (EXTRA + 2 * t), W * (EXTRA + 2 * t + 1)
        for w in range(W):
            P[count + w] += span * np.float32(P[W * OUTPUT + w] > P[limit + w])


@compiled
def rows_of(t: int) -> tuple[int, int]:
    """Rows of threshold t: its level, and the time above it."""
    if t < GROUP:
        return LIMITS + t, COUNTS + t
    return EXTRA + 2 * (t - GROUP), EXTRA + 2 * (t - GROUP) + 1


@compiled
def emptied(P: Array, totals: Array, n_thresholds: int) -> None:
    """Moves the statistics of a chunk to the totals in float64."""
    for w in range(W):
        totals[n_thresholds, w] += P[W * SUM + w]
        P[W * SUM + w] = 0.0
    for t in range(n_thresholds):
        count = W * rows_of(t)[1]
        for w in range(W):
            totals[t, w] += P[count + w]
            P[count + w] = 0.0


@compiled
def loaded(system: Array, mix: Array, limits: Array) -> Array:
    """The lanes of a block of filters at rest: P with its parameters and thresholds."""
    n_thresholds = limits.shape[0]
    P = np.zeros(W * (EXTRA + 2 * max(0, n_thresholds - GROUP)), dtype=np.float32)
    for r in range(4):
        for w in range(W):
            P[W * (DECAY + r) + w] = system[r, w]
    for w in range(W):
        P[W * INPUT + w] = mix[0, w]
    for t in range(n_thresholds):
        for w in range(W):
            P[W * rows_of(t)[0] + w] = limits[t, w]
    return P


@compiled
def run_block(
    P: Array,
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
    extra = max(0, n_thresholds - GROUP)
    for k in range(count):
        if spans[k] != known:
            known = spans[k]
            gains(P, known)
        value = mixed(P, rows, k, first, mix)
        if fresh and k == 0:
            for w in range(W):
                P[W * PREVIOUS + w] = P[W * INPUT + w] * value + TINY
        if stages == 1:
            one_stage(P, value)
        elif stages == 2:
            two_stages(P, value)
        elif stages == 3:
            three_stages(P, value)
        else:
            four_stages(P, value)
        pooled(P, np.float32(known), extra)
        if trace.shape[0] > 0:
            for w in range(W):
                trace[k, w] = P[W * OUTPUT + w]
        if k % CHUNK == CHUNK - 1 or k == count - 1:
            emptied(P, totals, n_thresholds)
    if count > 0:
        for w in range(W):
            P[W * LAST + w] = P[W * OUTPUT + w]
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
    for b in range(kind.shape[0]):
        P = loaded(system[b], mix[b], limits[b])
        known = -1.0
        first = channels * kind[b, 1]
        for i in range(n_series):
            for r in range(W * STATE, W * INPUT):
                P[r] = 0.0  # a new series
            for w in range(W):
                P[W * HIGHEST + w] = -np.inf
            totals[:] = 0.0
            given = mix[b], rows[i], spans[i], counts[i], True
            known = run_block(P, known, kind[b, 0], first, *given, totals, nowhere)
            highest, last = P[W * HIGHEST : W * LAST], P[W * LAST : W * INPUT]
            read_block(highest, last, totals, order[b], times[i], out[i])


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
    for b in range(kind.shape[0]):
        if count > 0:
            P = loaded(system[b], mix[b], limits[b])
            for r in range(STATE_ROWS):
                for w in range(W):
                    P[W * (STATE + r) + w] = memory[b, r, w]
            written = trace[b] if trace.shape[0] > 0 else nowhere
            first = channels * kind[b, 1]
            run_block(P, -1.0, kind[b, 0], first, mix[b], rows, spans, count, fresh, totals[b], written)
            for r in range(STATE_ROWS):
                for w in range(W):
                    memory[b, r, w] = P[W * (STATE + r) + w]
        highest, last = memory[b, HIGHEST - STATE], memory[b, LAST - STATE]
        read_block(highest, last, totals[b], order[b], clock[0], out)
    return count
