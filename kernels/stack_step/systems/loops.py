"""The state-space systems of a block: state in, state and outputs out, for some streams at a time."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy.typing as npt

from seqkit.kernels.stack_step.layout import (
    BLOCKS,
    COEFFICIENTS,
    LAMBDA,
    LANES,
    MAIN,
    MODES,
    MORE,
    N_BLOCKS,
    PULL,
    PUSH,
    RANK,
    RECORD,
    RULE,
    STEP,
    WIDE,
    WIDTH,
    M,
    X,
)
from seqkit.kernels.stack_step.tiles.loops import (
    add_tile,
    advance_tile,
    advance_tile_and_fetch,
    dot_tile,
    product,
)

__all__ = ["dense", "pairs", "rediscretise_all"]

Array = npt.NDArray[Any]
FLAGS = {"contract", "nsz"}
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FLAGS)
summed = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={*FLAGS, "reassoc"})
BILINEAR, ZERO_ORDER_HOLD = 0, 2


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
