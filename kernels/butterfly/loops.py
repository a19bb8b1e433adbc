"""The compiled loops: eight rows of the batch in a register, two levels in a pass over a tile that stays in the cache.

A tile holds `8 * vectors` rows of the batch, transposed: the numbers that an instruction works on lie side by side and
meet the same factors. A pass of two levels reads four places, applies four 2x2 matrices to them and writes them back.
Factors are packed in the order of reading: 16 for each group of four places (`rearrange`), or 4 for each pair where
one level is left over. Complex numbers are two registers, real and imaginary part, in rows of the tile side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from seqkit.kernels.long_conv.lanes.loops import LANES, Lanes, compiled, load, splat, store, turn

__all__ = ["LANES", "differentiate", "transform"]

Array = Any


def times(a: Any, b: Any) -> Any:
    """The product of two numbers, each a register or a pair of them."""


def adjoint_times(a: Any, b: Any) -> Any:
    """conj(a) b."""


def plus(a: Any, b: Any) -> Any:
    """The sum of two numbers."""


def read(x: Any, place: Any, parts: Any, lane: Any, width: Any) -> Any:
    """The number at a place of a tile; `parts` is (0,) for real numbers and (0, 0) for complex ones."""


def write(x: Any, place: Any, lane: Any, width: Any, value: Any) -> None:
    """Writes what `read` reads."""


def factor(t: Any, index: Any, parts: Any) -> Any:
    """A packed factor in all lanes."""


def add_sums(d: Any, index: Any, one: Any, other: Any) -> None:
    """Adds the sums over the lanes of two 2x2 matrices to eight packed factors from `index` on."""


def is_real(value: Any) -> bool:
    """Whether a type is that of a register, not of a pair."""
    return isinstance(value, Lanes)


@overload(times, strict=False)
def _times(a: Any, b: Any) -> Any:
    if is_real(a):
        return lambda a, b: a * b
    return lambda a, b: (a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0])


@overload(adjoint_times, strict=False)
def _adjoint_times(a: Any, b: Any) -> Any:
    if is_real(a):
        return lambda a, b: a * b
    return lambda a, b: (a[0] * b[0] + a[1] * b[1], a[0] * b[1] - a[1] * b[0])


@overload(plus, strict=False)
def _plus(a: Any, b: Any) -> Any:
    if is_real(a):
        return lambda a, b: a + b
    return lambda a, b: (a[0] + b[0], a[1] + b[1])


@overload(read, strict=False)
def _read(x: Any, place: Any, parts: Any, lane: Any, width: Any) -> Any:
    if len(parts) == 1:
        return lambda x, place, parts, lane, width: load(x, place * width + lane)
    return lambda x, place, parts, lane, width: (
        load(x, 2 * place * width + lane),
        load(x, (2 * place + 1) * width + lane),
    )


@overload(write, strict=False)
def _write(x: Any, place: Any, lane: Any, width: Any, value: Any) -> Any:
    if is_real(value):
        return lambda x, place, lane, width, value: store(x, place * width + lane, value)

    def both(x: Any, place: Any, lane: Any, width: Any, value: Any) -> None:
        store(x, 2 * place * width + lane, value[0])
        store(x, (2 * place + 1) * width + lane, value[1])

    return both


@overload(factor, strict=False)
def _factor(t: Any, index: Any, parts: Any) -> Any:
    if len(parts) == 1:
        return lambda t, index, parts: splat(t, index)
    return lambda t, index, parts: (splat(t, 2 * index), splat(t, 2 * index + 1))


@compiled
def add_eight(d: Array, at: int, a: Any, b: Any, c: Any, e: Any, f: Any, g: Any, h: Any, i: Any) -> None:
    """Adds the sums over the lanes of eight registers to eight numbers."""
    a, b, c, e, f, g, h, i = turn(a, b, c, e, f, g, h, i)
    store(d, at, load(d, at) + (((a + b) + (c + e)) + ((f + g) + (h + i))))


@overload(add_sums, strict=False)
def _add_sums(d: Any, index: Any, one: Any, other: Any) -> Any:
    if is_real(one.types[0]):
        return lambda d, index, one, other: add_eight(
            d, index, one[0], one[1], one[2], one[3], other[0], other[1], other[2], other[3]
        )

    def both(d: Any, index: Any, one: Any, other: Any) -> None:
        a, b, c, e = one
        add_eight(d, 2 * index, a[0], a[1], b[0], b[1], c[0], c[1], e[0], e[1])
        a, b, c, e = other
        add_eight(d, 2 * index + 8, a[0], a[1], b[0], b[1], c[0], c[1], e[0], e[1])

    return both


@compiled
def matrix(t: Array, index: int, parts: Any) -> Any:
    """Four packed factors: a 2x2 matrix, row by row."""
    return (
        factor(t, index, parts),
        factor(t, index + 1, parts),
        factor(t, index + 2, parts),
        factor(t, index + 3, parts),
    )


@compiled
def applied(t: Any, a: Any, b: Any) -> Any:
    """The matrix times the pair (a, b)."""
    return plus(times(t[0], a), times(t[1], b)), plus(times(t[2], a), times(t[3], b))


@compiled
def adjoint(t: Any, a: Any, b: Any) -> Any:
    """The adjoint of the matrix times the pair (a, b)."""
    return (
        plus(adjoint_times(t[0], a), adjoint_times(t[2], b)),
        plus(adjoint_times(t[1], a), adjoint_times(t[3], b)),
    )


@compiled
def outer(a: Any, b: Any, x: Any, y: Any) -> Any:
    """(a, b) times the adjoint of (x, y): the gradient of a matrix that took (x, y)."""
    return adjoint_times(x, a), adjoint_times(y, a), adjoint_times(x, b), adjoint_times(y, b)


@compiled
def summed(a: Any, b: Any) -> Any:
    """The sum of two matrices."""
    return plus(a[0], b[0]), plus(a[1], b[1]), plus(a[2], b[2]), plus(a[3], b[3])


@compiled
def halves(x: Array, start: int, out: Array, to: int, t: Array, at: int, n: int, gap: int, parts: Any, w: int) -> None:
    """One level, of pairs `gap` apart, from the tile at `start` to the one at `to`."""
    for first in range(0, n, 2 * gap):
        for p in range(first, first + gap):
            m = matrix(t, at, parts)
            at += 4
            for lane in range(0, w, LANES):
                a, b = read(x, p, parts, start + lane, w), read(x, p + gap, parts, start + lane, w)
                a, b = applied(m, a, b)
                write(out, p, to + lane, w, a)
                write(out, p + gap, to + lane, w, b)


@compiled
def quarters(
    x: Array, start: int, out: Array, to: int, t: Array, at: int, n: int, one: int, two: int, parts: Any, w: int
) -> None:
    """Two levels, of pairs `one` and then `two` apart; one is twice the other."""
    gap = min(one, two)
    for first in range(0, n, 4 * gap):
        for p in range(first, first + gap):
            q, r, s = p + one, p + two, p + one + two
            left, right = matrix(t, at, parts), matrix(t, at + 4, parts)
            low, high = matrix(t, at + 8, parts), matrix(t, at + 12, parts)
            at += 16
            for lane in range(0, w, LANES):
                i, j = start + lane, to + lane
                a, b = applied(left, read(x, p, parts, i, w), read(x, q, parts, i, w))
                c, d = applied(right, read(x, r, parts, i, w), read(x, s, parts, i, w))
                a, c = applied(low, a, c)
                b, d = applied(high, b, d)
                write(out, p, j, w, a)
                write(out, q, j, w, b)
                write(out, r, j, w, c)
                write(out, s, j, w, d)


@compiled
def halves_back(
    g: Array, x: Array, start: int, t: Array, d: Array, at: int, n: int, gap: int, parts: Any, w: int
) -> None:
    """Gradients of `halves`: the input's takes the place of the output's, that of the factors is added to d."""
    nothing = matrix(t, len(t) // len(parts) - 8, parts)
    for first in range(0, n, 2 * gap):
        for p in range(first, first + gap):
            m = matrix(t, at, parts)
            total = nothing
            for lane in range(0, w, LANES):
                a, b = read(x, p, parts, start + lane, w), read(x, p + gap, parts, start + lane, w)
                e, f = read(g, p, parts, lane, w), read(g, p + gap, parts, lane, w)
                total = summed(total, outer(e, f, a, b))
                e, f = adjoint(m, e, f)
                write(g, p, lane, w, e)
                write(g, p + gap, lane, w, f)
            add_sums(d, at, total, nothing)
            at += 4


@compiled
def quarters_back(
    g: Array, x: Array, start: int, t: Array, d: Array, at: int, n: int, one: int, two: int, parts: Any, w: int
) -> None:
    """Gradients of `quarters`; what lies between the two levels is computed again."""
    gap = min(one, two)
    nothing = matrix(t, len(t) // len(parts) - 8, parts)
    for first in range(0, n, 4 * gap):
        for p in range(first, first + gap):
            q, r, s = p + one, p + two, p + one + two
            left, right = matrix(t, at, parts), matrix(t, at + 4, parts)
            low, high = matrix(t, at + 8, parts), matrix(t, at + 12, parts)
            d_left, d_right, d_low, d_high = nothing, nothing, nothing, nothing
            for lane in range(0, w, LANES):
                i = start + lane
                a, b = read(x, p, parts, i, w), read(x, q, parts, i, w)
                c, e = read(x, r, parts, i, w), read(x, s, parts, i, w)
                ga, gb = read(g, p, parts, lane, w), read(g, q, parts, lane, w)
                gc, ge = read(g, r, parts, lane, w), read(g, s, parts, lane, w)
                a2, b2 = applied(left, a, b)
                c2, e2 = applied(right, c, e)
                d_low = summed(d_low, outer(ga, gc, a2, c2))
                d_high = summed(d_high, outer(gb, ge, b2, e2))
                ga, gc = adjoint(low, ga, gc)
                gb, ge = adjoint(high, gb, ge)
                d_left = summed(d_left, outer(ga, gb, a, b))
                d_right = summed(d_right, outer(gc, ge, c, e))
                ga, gb = adjoint(left, ga, gb)
                gc, ge = adjoint(right, gc, ge)
                write(g, p, lane, w, ga)
                write(g, q, lane, w, gb)
                write(g, r, lane, w, gc)
                write(g, s, lane, w, ge)
            add_sums(d, at, d_left, d_right)
            add_sums(d, at + 8, d_low, d_high)
            at += 16


@compiled
def turn_rows(x: Array, start: int, step: int, out: Array, to: int, w: int) -> None:
    """Transposes eight rows of eight numbers, `step` apart, to eight rows `w` apart."""
    a, b, c, d = load(x, start), load(x, start + step), load(x, start + 2 * step), load(x, start + 3 * step)
    start += 4 * step
    e, f, g, h = load(x, start), load(x, start + step), load(x, start + 2 * step), load(x, start + 3 * step)
    a, b, c, d, e, f, g, h = turn(a, b, c, d, e, f, g, h)
    store(out, to, a)
    store(out, to + w, b)
    store(out, to + 2 * w, c)
    store(out, to + 3 * w, d)
    to += 4 * w
    store(out, to, e)
    store(out, to + w, f)
    store(out, to + 2 * w, g)
    store(out, to + 3 * w, h)


@compiled
def gather(x: Array, first: int, step: int, rows: int, columns: int, tile: Array, w: int) -> None:
    """Brings `rows` rows of x, `step` apart from `first` on, into a tile; lanes without a row become 0."""
    for lane in range(0, w, LANES):
        if lane + LANES <= rows and columns % LANES == 0:
            for column in range(0, columns, LANES):
                turn_rows(x, first + lane * step + column, step, tile, column * w + lane, w)
        else:
            for i in range(lane, lane + LANES):
                for column in range(columns):
                    tile[column * w + i] = x[first + i * step + column] if i < rows else 0


@compiled
def scatter(tile: Array, w: int, x: Array, first: int, step: int, rows: int, columns: int) -> None:
    """Writes what `gather` reads."""
    for lane in range(0, w, LANES):
        if lane + LANES <= rows and columns % LANES == 0:
            for column in range(0, columns, LANES):
                turn_rows(tile, column * w + lane, w, x, first + lane * step + column, step)
        else:
            for i in range(lane, min(lane + LANES, rows)):
                for column in range(columns):
                    x[first + i * step + column] = tile[column * w + i]


@compiled
def copy_four(x: Array, start: int, out: Array, to: int, count: int) -> None:
    """Copies the factors of a 2x2 matrix."""
    for k in range(count):
        out[to + k] = x[start + k]


@compiled
def rearrange(twiddle: Array, packed: Array, plan: Array, n: int, stacks: int, parts: Any, back: bool) -> None:
    """Packs the factors of every stack in the order of reading, or with `back` unpacks them, all flat.

    `twiddle` holds level after level. A pass of two levels holds, for each group of four places, the two matrices of
    its first level and the two of its second; a pass of one level holds its matrices in order.
    """
    four, size, packed_size = 4 * len(parts), len(twiddle) // stacks, len(packed) // stacks
    for stack in range(stacks):
        for i in range(len(plan)):
            one, two, at = plan[i, 0], plan[i, 1], stack * packed_size + plan[i, 2] * len(parts)
            first, second = stack * size + plan[i, 3] * four, stack * size + plan[i, 4] * four
            gap = min(one, two)
            for pair in range(n // 2):
                # Pairs `pair` and `pair + gap` make a group of four places.
                if two and pair // gap % 2 == 1:
                    continue
                places = (first + pair * four, 0, 0, 0)
                if two:
                    other = pair + gap
                    places = (places[0], first + other * four, second + pair * four, second + other * four)
                for k in range(4 if two else 1):
                    if back:
                        copy_four(packed, at, twiddle, places[k], four)
                    else:
                        copy_four(twiddle, places[k], packed, at, four)
                    at += four


@compiled
def transform(
    x: Array, t: Array, plan: Array, n: int, stacks: int, parts: Any, w: int, start: int, stop: int, y: Array
) -> None:
    """Applies rows `start` to `stop` of x (B, n) to every stack's factors and writes y (B, stacks, n), all flat.

    `plan` has a row a pass: the distances of its one or two levels, the second 0 where there is one, the place of its
    first packed factor, and its levels' first matrices. The packed factors of a stack are followed by eight zeros.
    """
    columns = n * len(parts)
    tile, size = np.empty(columns * w, x.dtype), len(t) // stacks
    for first in range(start, stop, w):
        rows = min(w, stop - first)
        for stack in range(stacks):
            factors = t[stack * size : (stack + 1) * size]
            gather(x, first * columns, columns, rows, columns, tile, w)
            for i in range(len(plan)):
                one, two, at = plan[i, 0], plan[i, 1], plan[i, 2]
                if two:
                    quarters(tile, 0, tile, 0, factors, at, n, one, two, parts, w)
                else:
                    halves(tile, 0, tile, 0, factors, at, n, one, parts, w)
            scatter(tile, w, y, (first * stacks + stack) * columns, stacks * columns, rows, columns)


@compiled
def differentiate(
    g: Array, x: Array, t: Array, plan: Array, n: int, stacks: int, parts: Any, w: int,
    start: int, stop: int, d_x: Array, d_t: Array,
) -> None:  # fmt: skip
    """Gradients from g (B, stacks, n): writes d_x (B, stacks, n) and adds to d_t, laid out as t."""
    columns = n * len(parts)
    block, size = columns * w, len(t) // stacks
    tiles, tile = np.empty(block * len(plan), x.dtype), np.empty(block, x.dtype)
    for first in range(start, stop, w):
        rows = min(w, stop - first)
        for stack in range(stacks):
            factors, found = t[stack * size : (stack + 1) * size], d_t[stack * size : (stack + 1) * size]
            gather(x, first * columns, columns, rows, columns, tiles, w)
            for i in range(len(plan) - 1):
                one, two, at = plan[i, 0], plan[i, 1], plan[i, 2]
                if two:
                    quarters(tiles, i * block, tiles, (i + 1) * block, factors, at, n, one, two, parts, w)
                else:
                    halves(tiles, i * block, tiles, (i + 1) * block, factors, at, n, one, parts, w)
            gather(g, (first * stacks + stack) * columns, stacks * columns, rows, columns, tile, w)
            for i in range(len(plan) - 1, -1, -1):
                one, two, at = plan[i, 0], plan[i, 1], plan[i, 2]
                if two:
                    quarters_back(tile, tiles, i * block, factors, found, at, n, one, two, parts, w)
                else:
                    halves_back(tile, tiles, i * block, factors, found, at, n, one, parts, w)
            scatter(tile, w, d_x, (first * stacks + stack) * columns, stacks * columns, rows, columns)
