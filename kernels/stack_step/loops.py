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
    ACTIVATION,
    BLOCKS,
    CHANNELS,
    COEFFICIENTS,
    ENCODER,
    FARTHEST,
    HEAD,
    HELD,
    INPUTS,
    KIND,
    LAMBDA,
    LANES,
    LEVELS,
    MAIN,
    MEAN,
    MIX,
    MODES,
    MORE,
    MOST,
    N_BLOCKS,
    N_LEVELS,
    NORM,
    OFFSET,
    OUT,
    OUTPUT,
    OWN_NORM,
    PADDED,
    POOL,
    PULL,
    PUSH,
    RANK,
    READS,
    RECORD,
    RULE,
    SCALE,
    SHARES,
    SKIP,
    STD,
    STEP,
    WIDE,
    WIDTH,
    M,
    X,
)
from seqkit.kernels.stack_step.pointwise.loops import gelu, sigmoid
from seqkit.kernels.stack_step.tiles.loops import (
    add_tile,
    advance_tile,
    advance_tile_and_fetch,
    dot_tile,
    product,
    product_of_four_rows,
    product_of_two_tiles,
)

__all__ = ["fits", "rediscretise_all", "step_rows"]

Array = npt.NDArray[Any]
FLAGS = {"contract", "nsz"}
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FLAGS)
summed = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={*FLAGS, "reassoc"})
TOGETHER = 32  # streams at a time
LAYER, RMS = 1, 2
GELU, RELU, SILU = 1, 2, 3
LINEAR, GATED = 1, 2
MEAN_POOL, LAST_POOL, MAX_POOL = 1, 2, 3
LOW_RANK, DENSE = 1, 2
BILINEAR, ZERO_ORDER_HOLD = 0, 2


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
def rediscretise(rule: int, modes: int, alone: Array, dt: Array, rate: Any, main: Array, out: Array) -> None:
    """Writes the coefficients of a tile for another step; those of the output stay."""
    one = alone.dtype.type(1)
    alpha = alone.dtype.type(0.5 if rule == BILINEAR else 1.0)
    rest = one - alpha
    for n in range(modes):
        given, kept = alone[4 * LANES * n : 4 * LANES * (n + 1)], main[COEFFICIENTS * LANES * n :]
        new = out[COEFFICIENTS * LANES * n : COEFFICIENTS * LANES * (n + 1)]
        for w in range(LANES):
            step = dt[w] * rate
            re, im = step * given[w], step * given[LANES + w]
            b_re, b_im = step * given[2 * LANES + w], step * given[3 * LANES + w]
            if rule == ZERO_ORDER_HOLD:
                size, half = math.exp(re), math.sin(im * alone.dtype.type(0.5))
                a_re, a_im = size * math.cos(im), size * math.sin(im)
                grown_re = math.expm1(re) * math.cos(im) - (half * half + half * half)
                length = re * re + im * im
                f_re, f_im = one, length
                if length > 0:
                    f_re = (grown_re * re + a_im * im) / length
                    f_im = (a_im * re - grown_re * im) / length
            else:
                down_re, down_im = one - alpha * re, -alpha * im
                length = down_re * down_re + down_im * down_im
                f_re, f_im = down_re / length, -down_im / length
                up_re, up_im = one + rest * re, rest * im
                a_re, a_im = up_re * f_re - up_im * f_im, up_re * f_im + up_im * f_re
            new[w] = a_re
            new[LANES + w] = a_im
            new[2 * LANES + w] = b_re * f_re - b_im * f_im
            new[3 * LANES + w] = b_re * f_im + b_im * f_re
            new[4 * LANES + w] = kept[4 * LANES + w]
            new[5 * LANES + w] = kept[5 * LANES + w]


@compiled
def pairs(
    T: Array,
    W: Array,
    states: Array,
    rows: Array,
    steps: Array,
    S: Array,
    u: int,
    y: int,
    taken: int,
    apart: int,
    spare: int,
    width: int,
    padded: int,
    m: int,
) -> None:
    """Steps the diagonal systems of a block, low-rank part included, and writes the outputs without skip."""
    one = W.dtype.type(1)
    size, base, numbers = W.itemsize, S.ctypes.data, W.ctypes.data
    modes, outputs, rank = T[MODES], T[M], T[RANK]
    tile_size = 2 * LANES * modes
    for tile in range(-(-width // LANES)):
        main = T[MAIN] + tile * COEFFICIENTS * LANES * modes
        for i in range(m):
            place = T[X] + tile * tile_size
            state = states.ctypes.data + size * (rows[i] * states.shape[1] + place)
            drive = base + size * (u + i * apart + tile * LANES)
            out = base + size * (y + i * apart + tile * LANES)
            coefficients = numbers + size * main
            if len(steps) > 0:
                alone = W[T[LAMBDA] + tile * 4 * LANES * modes :]
                rediscretise(
                    T[RULE],
                    modes,
                    alone,
                    W[T[STEP] + tile * LANES :],
                    W.dtype.type(steps[taken + i]),
                    W[main:],
                    S[spare:],
                )
                coefficients = base + size * spare
            for r in range(rank):
                weights = numbers + size * (T[PULL] + (tile * rank + r) * tile_size)
                dot_tile(weights, state, base + size * (spare + r * LANES), modes, one)
            if m == 1:
                advance_tile(coefficients, state, state, drive, out, modes, one)
            else:
                ahead = (
                    rows[i + 1] * states.shape[1] + place
                    if i + 1 < m
                    else rows[0] * states.shape[1] + place + tile_size
                )
                after = states.ctypes.data + size * ahead
                advance_tile_and_fetch(coefficients, state, after, drive, out, modes, one)
            for r in range(rank):
                weights = numbers + size * (T[PUSH] + (tile * rank + r) * tile_size)
                add_tile(weights, base + size * (spare + r * LANES), state, modes, one)
            for k in range(0 if rank > 0 else 1, outputs):
                weights = numbers + size * (T[MORE] + (tile * outputs + k) * tile_size)
                dot_tile(weights, state, out + size * k * padded, modes, one)


@compiled
def rediscretise_all(T: Array, W: Array, rate: Any) -> None:
    """Overwrites the coefficients of all diagonal blocks with those for another step."""
    for block in range(T[N_BLOCKS]):
        R = T[BLOCKS + block * RECORD : BLOCKS + (block + 1) * RECORD]
        modes = R[MODES]
        for tile in range(-(-T[WIDTH] // LANES)):
            main = W[R[MAIN] + tile * COEFFICIENTS * LANES * modes :]
            alone = W[R[LAMBDA] + tile * 4 * LANES * modes :]
            rediscretise(R[RULE], modes, alone, W[R[STEP] + tile * LANES :], rate, main, main)


@summed
def dot(a: Array, b: Array) -> Any:
    """Sum of products."""
    total = a.dtype.type(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@compiled
def dense(
    T: Array,
    W: Array,
    states: Array,
    rows: Array,
    S: Array,
    u: int,
    y: int,
    apart: int,
    spare: int,
    width: int,
    padded: int,
    m: int,
) -> None:
    """Steps dense systems and writes the outputs without skip."""
    one = W.dtype.type(1)
    size, base, numbers = W.itemsize, S.ctypes.data, W.ctypes.data
    order, outputs = T[MODES], T[M]
    inside, wide = order + -order % LANES, order + -order % WIDE
    for head in range(width):
        ahead = numbers + size * (T[MAIN] + head * wide * inside)
        b = W[T[MORE] + head * wide : T[MORE] + (head + 1) * wide]
        for i in range(m):
            place = T[X] + head * inside
            state = states[rows[i], place : place + order]
            drive = S[u + i * apart + head]
            start, new = S[spare : spare + wide], S[spare + wide : spare + 2 * wide]
            for k in range(wide):
                start[k] = b[k] * drive
            source = states.ctypes.data + size * (rows[i] * states.shape[1] + place)
            for tile in range(wide // WIDE):
                at = base + size * (spare + tile * WIDE)
                product(ahead + size * tile * WIDE * inside, source, 0, at, at + size * wide, 0, inside, one)
            for k in range(order):
                state[k] = new[k]
            for k in range(outputs):
                c = T[PULL] + (head * outputs + k) * wide
                S[y + i * apart + k * padded + head] = dot(W[c : c + order], state)


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
