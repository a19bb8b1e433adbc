"""The compiled loops of the features: 32 filters side by side, one sample after the other, statistics on the way.

A block of 32 filters of the same kind works in one array `P` of lanes: row r of lane w lies at 32 r + w. With one array
and fixed distances the compiler sees that the rows do not overlap and turns each loop over lanes into vectors.

States are held in units of powers of h, the gain of a stage at a training step: of m stages the state of stage j in
units of h^(m - j), the input in units of h^m. At that step a stage then adds its inputs as they are, which saves two
products, and four samples pass through a block at once, while its states stay in registers.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["carry_series", "sampled_blocks", "whole_series"]

W = 32
MANY = 4  # samples that pass through a block at once where their steps are equal: states then stay in registers
A_RE, A_IM, H, DECAY, TURN, C_RE, C_IM, SCALE, STATE = 0, 1, 2, 3, 4, 5, 6, 7, 8
PREVIOUS, HIGHEST, LAST = STATE + 8, STATE + 9, STATE + 10  # rows 16, 17 and 18
INPUT, OUTPUT, MIX, SUM, LIMITS, COUNTS = 19, 23, 27, 28, 29, 37  # inputs and outputs have a row for each of MANY
EXTRA = 45  # eight thresholds have fixed rows, further ones follow from EXTRA on
GROUP = 8
HALF = 4  # thresholds that are looked at in one loop
MOST_PARTS = 64
STATE_ROWS = 11  # what a stream keeps: the four stages (real and imaginary), previous input, maximum, last output
CHUNK = 128  # samples whose shares are counted in float32 before they join the totals in float64
ONE = np.float32(1)
TINY = np.float32(1e-20)  # keeps a filter at rest above the slow denormal numbers
LEAST = np.float32(1e-8)  # unit of states where h is less: its powers would get lost
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
def gain(decay: Any, span: Any) -> Any:
    """Share of its input that a stage takes in: h = tanh(decay span / 2)."""
    size = math.exp(-decay * span)
    return np.float32((1.0 - size) / (1.0 + size))


@compiled
def gains(P: Array, span: Any) -> None:
    """Writes a = exp((i turn - decay) span), and h in units of that of a training step, for a step of `span`."""
    for w in range(W):
        size = math.exp(-P[W * DECAY + w] * span)
        angle = P[W * TURN + w] * span
        P[W * A_RE + w] = np.float32(size * math.cos(angle))
        P[W * A_IM + w] = np.float32(size * math.sin(angle))
        P[W * H + w] = gain(P[W * DECAY + w], span) / max(LEAST, gain(P[W * DECAY + w], 1.0))


@compiled
def is_plain(P: Array) -> bool:
    """Whether row H is 1 throughout, as at a training step: a stage then adds its inputs as they are."""
    plain = True
    for w in range(W):
        plain = plain and P[W * H + w] == 1
    return plain


@compiled
def first_stage(ar: Any, ai: Any, h: Any, sr: Any, si: Any, old: Any, new: Any) -> tuple[Any, Any]:
    """One leaky integrator of a real input: a (s + h v_old) + h v_new."""
    pr = sr + h * old
    return (h * new - ai * si) + ar * pr, ar * si + ai * pr


@compiled
def stage(
    ar: Any, ai: Any, h: Any, sr: Any, si: Any, old_r: Any, old_i: Any, new_r: Any, new_i: Any
) -> tuple[Any, Any]:
    """One leaky integrator: a (s + h v_old) + h v_new."""
    pr, pi = sr + h * old_r, si + h * old_i
    return (h * new_r - ai * pi) + ar * pr, (h * new_i + ar * pi) + ai * pr


@compiled
def step_1(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through one stage."""
    return first_stage(ar, ai, h, s[0], s[1], old, new)


@compiled
def step_2(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through two stages."""
    n0, j0 = first_stage(ar, ai, h, s[0], s[1], old, new)
    n1, j1 = stage(ar, ai, h, s[2], s[3], s[0], s[1], n0, j0)
    return n0, j0, n1, j1


@compiled
def step_3(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through three stages."""
    n0, j0 = first_stage(ar, ai, h, s[0], s[1], old, new)
    n1, j1 = stage(ar, ai, h, s[2], s[3], s[0], s[1], n0, j0)
    n2, j2 = stage(ar, ai, h, s[4], s[5], s[2], s[3], n1, j1)
    return n0, j0, n1, j1, n2, j2


@compiled
def step_4(ar: Any, ai: Any, h: Any, s: Any, old: Any, new: Any) -> tuple[Any, ...]:
    """A sample through four stages."""
    n0, j0 = first_stage(ar, ai, h, s[0], s[1], old, new)
    n1, j1 = stage(ar, ai, h, s[2], s[3], s[0], s[1], n0, j0)
    n2, j2 = stage(ar, ai, h, s[4], s[5], s[2], s[3], n1, j1)
    n3, j3 = stage(ar, ai, h, s[6], s[7], s[4], s[5], n2, j2)
    return n0, j0, n1, j1, n2, j2, n3, j3


@compiled
def one_stage(P: Array) -> None:
    """One sample through blocks of one stage."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h = P[W * H + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
        )
        s = step_1(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[0] - ci * s[1]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]


@compiled
def one_stage_many(P: Array) -> None:
    """Four samples through blocks of one stage."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
        )
        s = step_1(ar, ai, ONE, s, old, new)
        P[W * OUTPUT + w] = cr * s[0] - ci * s[1]
        old, new = new, P[W * (INPUT + 1) + w]
        s = step_1(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 1) + w] = cr * s[0] - ci * s[1]
        old, new = new, P[W * (INPUT + 2) + w]
        s = step_1(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 2) + w] = cr * s[0] - ci * s[1]
        old, new = new, P[W * (INPUT + 3) + w]
        s = step_1(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 3) + w] = cr * s[0] - ci * s[1]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]


@compiled
def two_stages(P: Array) -> None:
    """One sample through blocks of two stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h = P[W * H + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
        )
        s = step_2(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[2] - ci * s[3]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]


@compiled
def two_stages_many(P: Array) -> None:
    """Four samples through blocks of two stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
        )
        s = step_2(ar, ai, ONE, s, old, new)
        P[W * OUTPUT + w] = cr * s[2] - ci * s[3]
        old, new = new, P[W * (INPUT + 1) + w]
        s = step_2(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 1) + w] = cr * s[2] - ci * s[3]
        old, new = new, P[W * (INPUT + 2) + w]
        s = step_2(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 2) + w] = cr * s[2] - ci * s[3]
        old, new = new, P[W * (INPUT + 3) + w]
        s = step_2(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 3) + w] = cr * s[2] - ci * s[3]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]


@compiled
def three_stages(P: Array) -> None:
    """One sample through blocks of three stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h = P[W * H + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
            P[W * (STATE + 4) + w],
            P[W * (STATE + 5) + w],
        )
        s = step_3(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[4] - ci * s[5]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]


@compiled
def three_stages_many(P: Array) -> None:
    """Four samples through blocks of three stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
            P[W * (STATE + 4) + w],
            P[W * (STATE + 5) + w],
        )
        s = step_3(ar, ai, ONE, s, old, new)
        P[W * OUTPUT + w] = cr * s[4] - ci * s[5]
        old, new = new, P[W * (INPUT + 1) + w]
        s = step_3(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 1) + w] = cr * s[4] - ci * s[5]
        old, new = new, P[W * (INPUT + 2) + w]
        s = step_3(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 2) + w] = cr * s[4] - ci * s[5]
        old, new = new, P[W * (INPUT + 3) + w]
        s = step_3(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 3) + w] = cr * s[4] - ci * s[5]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]


@compiled
def four_stages(P: Array) -> None:
    """One sample through blocks of four stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        h = P[W * H + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
            P[W * (STATE + 4) + w],
            P[W * (STATE + 5) + w],
            P[W * (STATE + 6) + w],
            P[W * (STATE + 7) + w],
        )
        s = step_4(ar, ai, h, s, old, new)
        P[W * OUTPUT + w] = cr * s[6] - ci * s[7]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]
        P[W * (STATE + 6) + w] = s[6]
        P[W * (STATE + 7) + w] = s[7]


@compiled
def four_stages_many(P: Array) -> None:
    """Four samples through blocks of four stages."""
    for w in range(W):
        ar, ai, cr, ci = P[w], P[W * A_IM + w], P[W * C_RE + w], P[W * C_IM + w]
        old, new = P[W * PREVIOUS + w], P[W * INPUT + w]
        s = (
            P[W * STATE + w],
            P[W * (STATE + 1) + w],
            P[W * (STATE + 2) + w],
            P[W * (STATE + 3) + w],
            P[W * (STATE + 4) + w],
            P[W * (STATE + 5) + w],
            P[W * (STATE + 6) + w],
            P[W * (STATE + 7) + w],
        )
        s = step_4(ar, ai, ONE, s, old, new)
        P[W * OUTPUT + w] = cr * s[6] - ci * s[7]
        old, new = new, P[W * (INPUT + 1) + w]
        s = step_4(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 1) + w] = cr * s[6] - ci * s[7]
        old, new = new, P[W * (INPUT + 2) + w]
        s = step_4(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 2) + w] = cr * s[6] - ci * s[7]
        old, new = new, P[W * (INPUT + 3) + w]
        s = step_4(ar, ai, ONE, s, old, new)
        P[W * (OUTPUT + 3) + w] = cr * s[6] - ci * s[7]
        P[W * PREVIOUS + w] = new
        P[W * STATE + w] = s[0]
        P[W * (STATE + 1) + w] = s[1]
        P[W * (STATE + 2) + w] = s[2]
        P[W * (STATE + 3) + w] = s[3]
        P[W * (STATE + 4) + w] = s[4]
        P[W * (STATE + 5) + w] = s[5]
        P[W * (STATE + 6) + w] = s[6]
        P[W * (STATE + 7) + w] = s[7]


@compiled
def mixed(P: Array, rows: Array, k: int, first: int, mix: Array) -> None:
    """Writes the input of each lane for sample k, in the unit of the states."""
    value = rows[k, first]
    for w in range(W):
        P[W * INPUT + w] = P[W * MIX + w] * P[W * SCALE + w] * value + TINY * P[W * SCALE + w]
    for c in range(1, mix.shape[0]):
        value = rows[k, first + c]
        for w in range(W):
            P[W * INPUT + w] += mix[c, w] * P[W * SCALE + w] * value


@compiled
def mixed_many(P: Array, rows: Array, k: int, first: int, mix: Array) -> None:
    """Writes the inputs of each lane for samples k to k + 3, in the unit of the states."""
    v0, v1, v2, v3 = rows[k, first], rows[k + 1, first], rows[k + 2, first], rows[k + 3, first]
    for w in range(W):
        share, rest = P[W * MIX + w] * P[W * SCALE + w], TINY * P[W * SCALE + w]
        P[W * INPUT + w] = share * v0 + rest
        P[W * (INPUT + 1) + w] = share * v1 + rest
        P[W * (INPUT + 2) + w] = share * v2 + rest
        P[W * (INPUT + 3) + w] = share * v3 + rest
    for c in range(1, mix.shape[0]):
        at = first + c
        v0, v1, v2, v3 = rows[k, at], rows[k + 1, at], rows[k + 2, at], rows[k + 3, at]
        for w in range(W):
            share = mix[c, w] * P[W * SCALE + w]
            P[W * INPUT + w] += share * v0
            P[W * (INPUT + 1) + w] += share * v1
            P[W * (INPUT + 2) + w] += share * v2
            P[W * (INPUT + 3) + w] += share * v3


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
    """How many of four outputs lie above a level."""
    return (np.float32(y0 > limit) + np.float32(y1 > limit)) + (np.float32(y2 > limit) + np.float32(y3 > limit))


@compiled
def pooled_many(P: Array, span: Any) -> None:
    """Adds the outputs of four samples to the statistics of the chunk."""
    for w in range(W):
        y0, y1 = P[W * OUTPUT + w], P[W * (OUTPUT + 1) + w]
        y2, y3 = P[W * (OUTPUT + 2) + w], P[W * (OUTPUT + 3) + w]
        P[W * SUM + w] += span * ((y0 + y1) + (y2 + y3))
        P[W * HIGHEST + w] = max(max(y0, y1), max(max(y2, y3), P[W * HIGHEST + w]))
        P[W * COUNTS + w] += span * above(y0, y1, y2, y3, P[W * LIMITS + w])
        P[W * (COUNTS + 1) + w] += span * above(y0, y1, y2, y3, P[W * (LIMITS + 1) + w])
        P[W * (COUNTS + 2) + w] += span * above(y0, y1, y2, y3, P[W * (LIMITS + 2) + w])
        P[W * (COUNTS + 3) + w] += span * above(y0, y1, y2, y3, P[W * (LIMITS + 3) + w])


@compiled
def pooled_second(P: Array, span: Any) -> None:
    """Adds the outputs of one sample to the times above the fifth to eighth threshold."""
    for w in range(W):
        y = P[W * OUTPUT + w]
        P[W * (COUNTS + 4) + w] += span * np.float32(y > P[W * (LIMITS + 4) + w])
        P[W * (COUNTS + 5) + w] += span * np.float32(y > P[W * (LIMITS + 5) + w])
        P[W * (COUNTS + 6) + w] += span * np.float32(y > P[W * (LIMITS + 6) + w])
        P[W * (COUNTS + 7) + w] += span * np.float32(y > P[W * (LIMITS + 7) + w])


@compiled
def pooled_second_many(P: Array, span: Any) -> None:
    """Adds the outputs of four samples to the times above the fifth to eighth threshold."""
    for w in range(W):
        y0, y1 = P[W * OUTPUT + w], P[W * (OUTPUT + 1) + w]
        y2, y3 = P[W * (OUTPUT + 2) + w], P[W * (OUTPUT + 3) + w]
        P[W * (COUNTS + 4) + w] += span * above(y0, y1, y2, y3, P[W * (LIMITS + 4) + w])
        P[W * (COUNTS + 5) + w] += span * above(y0, y1, y2, y3, P[W * (LIMITS + 5) + w])
        P[W * (COUNTS + 6) + w] += span * above(y0, y1, y2, y3, P[W * (LIMITS + 6) + w])
        P[W * (COUNTS + 7) + w] += span * above(y0, y1, y2, y3, P[W * (LIMITS + 7) + w])


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
def step(P: Array, stages: int) -> None:
    """One sample through a block."""
    if stages == 1:
        one_stage(P)
    elif stages == 2:
        two_stages(P)
    elif stages == 3:
        three_stages(P)
    else:
        four_stages(P)


@compiled
def step_many(P: Array, stages: int) -> None:
    """Four samples through a block."""
    if stages == 1:
        one_stage_many(P)
    elif stages == 2:
        two_stages_many(P)
    elif stages == 3:
        three_stages_many(P)
    else:
        four_stages_many(P)


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
def loaded(stages: int, system: Array, mix: Array, limits: Array) -> Array:
    """The lanes of a block of filters at rest: P with its parameters and thresholds."""
    n_thresholds = limits.shape[0]
    P = np.zeros(W * (EXTRA + 2 * max(0, n_thresholds - GROUP)), dtype=np.float32)
    for r in range(4):
        for w in range(W):
            P[W * (DECAY + r) + w] = system[r, w]
    for w in range(W):
        P[W * MIX + w] = mix[0, w]
        unit = max(LEAST, gain(P[W * DECAY + w], 1.0))
        P[W * SCALE + w] = unit
        for _ in range(stages - 1):
            P[W * SCALE + w] *= unit
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
    plain = is_plain(P)
    k, since, n = 0, 0, 1
    while k < count:
        if spans[k] != known:
            known = spans[k]
            gains(P, known)
            plain = is_plain(P)
        many = plain and k + MANY <= count
        if many:
            many = spans[k + 1] == known and spans[k + 2] == known and spans[k + 3] == known
        span = np.float32(known)
        if many:
            n = MANY
            mixed_many(P, rows, k, first, mix)
        else:
            n = 1
            mixed(P, rows, k, first, mix)
        if fresh and k == 0:
            for w in range(W):
                P[W * PREVIOUS + w] = P[W * INPUT + w]
        if many:
            step_many(P, stages)
            pooled_many(P, span)
            if n_thresholds > HALF:
                pooled_second_many(P, span)
        else:
            step(P, stages)
            pooled(P, span)
            if n_thresholds > HALF:
                pooled_second(P, span)
        if extra > 0:
            pooled_further(P, span, n, extra)
        if trace.shape[0] > 0:
            for j in range(n):
                for w in range(W):
                    trace[k + j, w] = P[W * (OUTPUT + j) + w]
        k += n
        since += n
        if since >= CHUNK or k == count:
            emptied(P, totals, n_thresholds)
            since = 0
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
            known = run_block(P, known, kind[b, 0], first, *given, totals, nowhere)
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
    for b in range(kind.shape[0]):
        for g in range(parts):
            i = chosen[b, g]
            held[:] = np.nan
            clock[:] = 0.0
            count = take_rows(values[i, : lengths[i]], steps[i, : lengths[i]], held, clock, rows, spans)
            P = loaded(kind[b, 0], system[b], mix[b], limits[b])
            run_block(P, -1.0, kind[b, 0], channels * kind[b, 1], mix[b], rows, spans, count, True, totals, trace)
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
    for b in range(kind.shape[0]):
        if count > 0:
            P = loaded(kind[b, 0], system[b], mix[b], limits[b])
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
