"""The compiled loops of a step: each row of the state is read once, written once, and its outputs summed on the way.

A row of N complex modes is worked on as 2N real numbers in order: in x' = A x + B u, a lane needs itself and the other
lane of its pair. Written as a loop over complex numbers this becomes a sorting of real from imaginary parts and back,
which takes as long as all arithmetic; so the vectors are written out here, with one swap within pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import extending
from numba.core import cgutils, types

__all__ = ["advance_rows", "differentiate_rows"]

intrinsic: Callable[[Any], Any] = extending.intrinsic
tools: Any = cgutils
ir: Any = tools.ir  # LLVM's instructions, as numba writes them
PAIRS = 8  # pairs a vector: in float32 two registers of AVX2
STREAMS = 4  # streams that take turns at a head: all but one find its coefficients in the nearest cache
FLAGS = ("contract", "nsz", "reassoc")
FLUSH = {32: 2.0**-100, 64: 2.0**-960}  # by bits: a state below this becomes 0 before slow denormal numbers appear
WORD, LONG = ir.IntType(32), ir.IntType(64)
compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz", "reassoc"})


def bits(vector: Any) -> int:
    """Bits of a lane."""
    return 32 if isinstance(vector.element, ir.FloatType) else 64


def shuffled(builder: Any, value: Any, order: list[int]) -> Any:
    """The lanes of `value` in another order."""
    return builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(WORD, len(order)), order))


def masked(builder: Any, operation: Callable[[Any, Any], Any], value: Any, masks: list[int]) -> Any:
    """Applies a bitwise operation with one mask a lane."""
    whole = ir.VectorType(ir.IntType(bits(value.type)), value.type.count)
    return builder.bitcast(operation(builder.bitcast(value, whole), ir.Constant(whole, masks)), value.type)


def new_state(builder: Any, a: Any, b: Any, x: Any, v: Any) -> Any:
    """A x + B u on lanes (re, im, re, im ...), small values set to 0; NaN stays NaN."""
    size, sign = x.type.count, 1 << (bits(x.type) - 1)
    turned = shuffled(builder, x, [lane ^ 1 for lane in range(size)])
    turned = masked(builder, builder.xor, turned, [sign, 0] * (size // 2))  # (re, im) -> (-im, re)
    real = shuffled(builder, a, [lane & ~1 for lane in range(size)])
    imag = shuffled(builder, a, [lane | 1 for lane in range(size)])
    driven = builder.fadd(builder.fmul(imag, turned, FLAGS), builder.fmul(v, b, FLAGS), FLAGS)
    value = builder.fadd(builder.fmul(real, x, FLAGS), driven, FLAGS)
    limit = ir.Constant(x.type, [FLUSH[bits(x.type)]] * size)
    small = builder.fcmp_ordered("<", masked(builder, builder.and_, value, [sign - 1] * size), limit)
    return builder.select(small, ir.Constant(x.type, [0.0] * size), value)


def sweep(builder: Any, real: Any, count: Any, body: Callable[[Any, Callable[..., Any]], Any]) -> Any:
    """Sums `body` over a row of `count` pairs, 8 at a time and then one by one: real lanes less imaginary ones.

    `body` takes a vector type and a function that makes an address in the row a pointer to that vector.
    """
    total = tools.alloca_once_value(builder, ir.Constant(real, 0.0))
    full = builder.mul(builder.sdiv(count, LONG(PAIRS)), LONG(PAIRS))
    for pairs, start, stop in ((PAIRS, LONG(0), full), (1, full, count)):
        vector = ir.VectorType(real, 2 * pairs)
        partial = tools.alloca_once_value(builder, ir.Constant(vector, [0.0] * (2 * pairs)))
        with tools.for_range_slice(builder, start, stop, LONG(pairs), LONG) as (index, _):
            place = builder.mul(index, LONG(2))

            def at(address: Any, vector: Any = vector, place: Any = place) -> Any:
                lane = builder.gep(builder.inttoptr(address, real.as_pointer()), [place])
                return builder.bitcast(lane, vector.as_pointer())

            builder.store(builder.fadd(builder.load(partial), body(vector, at), FLAGS), partial)
        lanes, width = builder.load(partial), 2 * pairs
        while width > 2:
            width //= 2
            low, high = list(range(width)), list(range(width, 2 * width))
            lanes = builder.fadd(shuffled(builder, lanes, low), shuffled(builder, lanes, high))
        pair = builder.fsub(builder.extract_element(lanes, WORD(0)), builder.extract_element(lanes, WORD(1)))
        builder.store(builder.fadd(builder.load(total), pair), total)
    return builder.load(total)


@intrinsic
def advance_row(typing: Any, a: Any, b: Any, c: Any, x: Any, new: Any, v: Any, count: Any) -> Any:
    """Writes new = a x + b v for one row, given as addresses; returns Re sum c new."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, c, x, new, v, count = args

        def body(vector: Any, at: Callable[..., Any]) -> Any:
            align = bits(vector) // 8
            read = [builder.load(at(address), align=align) for address in (a, b, c, x)]
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), v, WORD(0))
            value = new_state(builder, read[0], read[1], read[3], shuffled(builder, first, [0] * vector.count))
            builder.store(value, at(new), align=align)
            return builder.fmul(read[2], value, FLAGS)

        return sweep(builder, v.type, count, body)

    return v(a, b, c, x, new, v, count), build


@intrinsic
def dot_row(typing: Any, c: Any, x: Any, like: Any, count: Any) -> Any:
    """Returns Re sum c x for one row, given as addresses."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def body(vector: Any, at: Callable[..., Any]) -> Any:
            one, other = (builder.load(at(address), align=bits(vector) // 8) for address in args[:2])
            return builder.fmul(one, other, FLAGS)

        return sweep(builder, args[2].type, args[3], body)

    return like(c, x, like, count), build


@intrinsic
def load(typing: Any, address: Any, like: Any) -> Any:
    """Reads a number of the type of `like`."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], args[1].type.as_pointer()))

    return like(address, like), build


@intrinsic
def store(typing: Any, address: Any, value: Any) -> Any:
    """Writes `value`."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()))
        return context.get_dummy_value()

    return types.void(address, value), build


@compiled
def steps_of(table: int, operand: int, start: int) -> Any:
    """Distances of an operand along the three loops, in real numbers."""
    place = table + 8 * (5 + 3 * operand)
    return load(place, start), load(place + 8, start), load(place + 16, start)


@numba.njit(cache=True, nogil=True)  # no liberties here: v - v must stay NaN where v is
def advance_rows(
    table: int,
    size: int,
    u: int,
    A: int,
    B: int,
    C: int,
    D: int,
    x: int,
    y: int,
    new: int,
    start: int,
    stop: int,
    one: Any,
) -> Any:
    """Steps the rows of streams `start` to `stop`; returns the sum of all outputs, which any bad value spoils.

    Tensors are addresses: handing over arrays would take longer than the arithmetic of one stream. `table` is that of a
    layout, `size` the bytes of a real number, D is 0 where there is none, and `one` has the type of the real numbers.
    """
    n0, n1, n2 = load(table, start), load(table + 8, start), load(table + 16, start)
    n_outputs, n_pairs = load(table + 24, start), load(table + 32, start)
    of_u, of_A, of_B = steps_of(table, 0, start), steps_of(table, 1, start), steps_of(table, 2, start)
    of_C, of_x, of_D = steps_of(table, 3, start), steps_of(table, 4, start), steps_of(table, 5, start)
    total = one - one
    if x == new:  # a bad input must not spoil the state: look before anything is written
        for i in range(n0):
            for j in range(start, stop):
                for k in range(n2):
                    v = load(u + size * (i * of_u[0] + j * of_u[1] + k * of_u[2]), one)
                    total += v - v
        if total != 0:
            return total
    next_u, next_A, next_B = size * of_u[1], size * of_A[1], size * of_B[1]
    next_C, next_x, next_D = size * of_C[1], size * of_x[1], size * of_D[1]
    row_bytes = 2 * n_pairs * size
    for i in range(n0):
        for first in range(start, stop, STREAMS):
            for k in range(n2):
                to_u, to_A = u + size * (i * of_u[0] + k * of_u[2]), A + size * (i * of_A[0] + k * of_A[2])
                to_B, to_C = B + size * (i * of_B[0] + k * of_B[2]), C + size * (i * of_C[0] + k * of_C[2])
                to_x, to_D = x + size * (i * of_x[0] + k * of_x[2]), D + size * (i * of_D[0] + k * of_D[2])
                for j in range(first, min(first + STREAMS, stop)):
                    row = (i * n1 + j) * n2 + k
                    v, c, after = load(to_u + j * next_u, one), to_C + j * next_C, new + row * row_bytes
                    from_C = c if n_outputs else to_B
                    found = advance_row(
                        to_A + j * next_A, to_B + j * next_B, from_C, to_x + j * next_x, after, v, n_pairs
                    )
                    skip, out = to_D + j * next_D, y + size * row * n_outputs
                    for m in range(n_outputs):
                        value = found + found
                        if D:
                            value += load(skip + size * m, one) * v
                        store(out + size * m, value)
                        total += value
                        if m + 1 < n_outputs:
                            found = dot_row(c + (m + 1) * row_bytes, after, one, n_pairs)
    return total


@compiled
def add_conjugate(out: Any, factor: Any, values: Any) -> None:
    """Adds factor conj(values), for a real factor."""
    for n in range(len(out)):
        out[n] += factor * values[n].conjugate()


@compiled
def add_product(out: Any, values: Any, others: Any) -> None:
    """Adds values conj(others)."""
    for n in range(len(out)):
        out[n] += values[n] * others[n].conjugate()


@compiled
def set_product(out: Any, values: Any, others: Any) -> None:
    """Writes values conj(others)."""
    for n in range(len(out)):
        out[n] = values[n] * others[n].conjugate()


@compiled
def add_scaled(out: Any, values: Any, b: Any, v: Any) -> Any:
    """Adds v values; returns Re sum conj(b) values."""
    total = v - v
    for n in range(len(out)):
        out[n] += v * values[n]
        total += b[n].real * values[n].real + b[n].imag * values[n].imag
    return total


@compiled
def advance_plainly(out: Any, a: Any, b: Any, x: Any, v: Any) -> None:
    """Writes a x + b v."""
    for n in range(len(out)):
        out[n] = a[n] * x[n] + b[n] * v


@compiled
def differentiate_rows(
    numbers: Any,
    offsets: Any,
    grad_y: Any,
    grad_new: Any,
    u: Any,
    A: Any,
    B: Any,
    C: Any,
    x: Any,
    d_u: Any,
    d_A: Any,
    d_B: Any,
    d_C: Any,
    d_x: Any,
    start: int,
    stop: int,
) -> None:
    """Gradients of the rows of streams `start` to `stop`, from flat arrays; those of A, B and C are added up.

    `numbers` are those of a layout's table, `offsets` say where this part's sums of A, B and C begin.
    """
    n0, n1, n2, n_outputs, n_pairs = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    inner, after = np.empty(n_pairs, x.dtype), np.empty(n_pairs, x.dtype)
    for i in range(n0):
        for j in range(start, stop):
            for k in range(n2):
                row = (i * n1 + j) * n2 + k
                own = slice(row * n_pairs, (row + 1) * n_pairs)
                v = u[i * numbers[5] + j * numbers[6] + k * numbers[7]]
                # steps count real numbers, and these arrays hold complex ones
                at_A = (i * numbers[8] + j * numbers[9] + k * numbers[10]) // 2
                at_B = (i * numbers[11] + j * numbers[12] + k * numbers[13]) // 2
                at_C = (i * numbers[14] + j * numbers[15] + k * numbers[16]) // 2
                at_x = (i * numbers[17] + j * numbers[18] + k * numbers[19]) // 2
                a, b, old = A[at_A : at_A + n_pairs], B[at_B : at_B + n_pairs], x[at_x : at_x + n_pairs]
                advance_plainly(after, a, b, old, v)
                inner[:] = grad_new[own]
                for m in range(n_outputs):
                    twice = 2 * grad_y[row * n_outputs + m]
                    at = at_C + m * n_pairs
                    add_conjugate(inner, twice, C[at : at + n_pairs])
                    at += offsets[2]
                    add_conjugate(d_C[at : at + n_pairs], twice, after)
                set_product(d_x[own], inner, a)
                at_A, at_B = at_A + offsets[0], at_B + offsets[1]
                add_product(d_A[at_A : at_A + n_pairs], inner, old)
                d_u[row] = add_scaled(d_B[at_B : at_B + n_pairs], inner, b, v)
