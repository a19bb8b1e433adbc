"""What the kernels of the convolution are made of: rows in and out, and an FFT's passes as products on matrix units.

Operands are read 16 lines at a time where they come from memory: with three TF32 products for one of float32, larger
ones would not fit the registers beside the results. A matrix product of complex numbers is three real ones, each of
operands of its own. No operand is a transposed result of another product, which Triton gets wrong on Hopper.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "ends_of",
    "grid_of",
    "outer_pass",
    "outer_pass_back",
    "transform",
    "transform_back",
]


@triton.jit
def load_row(x, factor, samples, end, used, HAS_FACTOR: tl.constexpr):
    """Loads samples of a row in float32, times its factor where that is used; 0 past its end."""
    value = tl.load(x + samples, mask=samples < end, other=0.0).to(tl.float32)
    if HAS_FACTOR:
        value *= tl.load(factor + samples, mask=(samples < end) & used, other=1.0).to(tl.float32)
    return value


@triton.jit
def store_row(y, factor, samples, value, end, stop, HAS_FACTOR: tl.constexpr):
    """Stores samples of a row up to `stop`, times its factor; 0 past its end."""
    if HAS_FACTOR:
        value *= tl.load(factor + samples, mask=samples < end, other=0.0).to(tl.float32)
    value = tl.where(samples < end, value, 0.0)
    tl.store(y + samples, value.to(y.dtype.element_ty), mask=samples < stop)


@triton.jit
def ends_of(lengths, pair, batch_size, length, HAS_LENGTHS: tl.constexpr):
    """Samples that the two rows of a pair hold: none for a row that is not there."""
    if HAS_LENGTHS:
        first = tl.load(lengths + 2 * pair, mask=2 * pair < batch_size, other=0).to(tl.int32)
        second = tl.load(lengths + 2 * pair + 1, mask=2 * pair + 1 < batch_size, other=0).to(tl.int32)
    else:
        first = tl.where(2 * pair < batch_size, length, 0)
        second = tl.where(2 * pair + 1 < batch_size, length, 0)
    return first, second


@triton.jit
def grid_of(HEIGHT: tl.constexpr, WIDTH: tl.constexpr, STRIDE: tl.constexpr):
    """Places of a (HEIGHT, WIDTH) corner of a matrix with rows of STRIDE numbers."""
    return tl.arange(0, HEIGHT)[:, None] * STRIDE + tl.arange(0, WIDTH)[None, :]


@triton.jit
def multiply_add(real, other, both, ar, ai, br, bi, PRECISION: tl.constexpr):
    """Adds to the three real products of a complex one: fewer than four, and no operand is needed twice."""
    real = tl.dot(ar, br, acc=real, input_precision=PRECISION)
    other = tl.dot(ai, bi, acc=other, input_precision=PRECISION)
    both = tl.dot(ar + ai, br + bi, acc=both, input_precision=PRECISION)
    return real, other, both


@triton.jit
def times_columns(ar, ai, columns, SIGN: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr, PRECISION: tl.constexpr):
    """Multiplies (N1, N2) by the DFT matrix of N2 points, or by its conjugate with SIGN -1."""
    places = grid_of(N2, N2, N2)
    fr, fi = tl.load(columns + places), SIGN * tl.load(columns + N2 * N2 + places)
    zero = tl.zeros((N1, N2), tl.float32)
    real, other, both = multiply_add(zero, zero, zero, ar, ai, fr, fi, PRECISION)
    return real - other, both - real - other


@triton.jit
def transform(
    x, second_x, factor, second_factor, first, second, used, rows, columns, twiddles,
    HELD: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr, HAS_FACTOR: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """FFT of two rows of (N1, N2) samples, the first HELD lines of which are read, into the order (k1, k2).

    Lines are read and multiplied 16 at a time: operands of more would not fit the registers beside the result.
    """
    real, other, both = tl.zeros((N1, N2), tl.float32), tl.zeros((N1, N2), tl.float32), tl.zeros((N1, N2), tl.float32)
    for line in range(0, HELD, 16):
        samples = line * N2 + grid_of(16, N2, N2)
        xr = load_row(x, factor, samples, first, used, HAS_FACTOR)
        xi = load_row(second_x, second_factor, samples, second, used, HAS_FACTOR)
        places = line + grid_of(N1, 16, N1)
        fr, fi = tl.load(rows + places), tl.load(rows + N1 * N1 + places)
        real, other, both = multiply_add(real, other, both, fr, fi, xr, xi, PRECISION)
    ar, ai = real - other, both - real - other
    wr, wi = tl.load(twiddles + grid_of(N1, N2, N2)), tl.load(twiddles + N1 * N2 + grid_of(N1, N2, N2))
    return times_columns(ar * wr - ai * wi, ar * wi + ai * wr, columns, 1, N1, N2, PRECISION)


@triton.jit
def transform_back(
    zr, zi, y, second_y, factor, second_factor, first, second, stop, second_stop, rows, columns, twiddles,
    HELD: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr, HAS_FACTOR: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Inverse of `transform` without its factor; stores two rows, the first HELD lines of them, 16 at a time."""
    LINES: tl.constexpr = 16
    ar, ai = times_columns(zr, zi, columns, -1, N1, N2, PRECISION)
    wr, wi = tl.load(twiddles + grid_of(N1, N2, N2)), tl.load(twiddles + N1 * N2 + grid_of(N1, N2, N2))
    br, bi = ar * wr + ai * wi, ai * wr - ar * wi
    zero = tl.zeros((LINES, N2), tl.float32)
    for line in range(0, HELD, LINES):
        places = line * N1 + grid_of(LINES, N1, N1)
        fr, fi = tl.load(rows + places), -tl.load(rows + N1 * N1 + places)
        real, other, both = multiply_add(zero, zero, zero, fr, fi, br, bi, PRECISION)
        samples = line * N2 + grid_of(LINES, N2, N2)
        store_row(y, factor, samples, real - other, first, stop, HAS_FACTOR)
        store_row(second_y, second_factor, samples, both - real - other, second, second_stop, HAS_FACTOR)


@triton.jit
def outer_pass(
    x, factor, second_x, second_factor, first, second, outer, outer_twiddles, area,
    N0: tl.constexpr, INNER: tl.constexpr, WIDTH: tl.constexpr, HAS_FACTOR: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Transforms along j0, a tile of columns at a time, into scratch memory (2, N0, INNER)."""
    for tile in range(0, INNER, WIDTH):
        real = tl.zeros((N0, WIDTH), tl.float32)
        other, both = real, real
        for line in range(0, N0, 16):
            samples = line * INNER + tile + grid_of(16, WIDTH, INNER)
            xr = load_row(x, factor, samples, first, True, HAS_FACTOR)
            xi = load_row(second_x, second_factor, samples, second, True, HAS_FACTOR)
            places = line + grid_of(N0, 16, N0)
            fr, fi = tl.load(outer + places), tl.load(outer + N0 * N0 + places)
            real, other, both = multiply_add(real, other, both, fr, fi, xr, xi, PRECISION)
        ar, ai = real - other, both - real - other
        samples = tile + grid_of(N0, WIDTH, INNER)
        wr, wi = tl.load(outer_twiddles + samples), tl.load(outer_twiddles + N0 * INNER + samples)
        tl.store(area + samples, ar * wr - ai * wi)
        tl.store(area + N0 * INNER + samples, ar * wi + ai * wr)


@triton.jit
def outer_pass_back(
    area, y, factor, second_y, second_factor, first, second, stop, second_stop, outer, outer_twiddles,
    N0: tl.constexpr, INNER: tl.constexpr, WIDTH: tl.constexpr, HAS_FACTOR: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Inverse of `outer_pass` without its factor, from scratch memory into two rows."""
    for tile in range(0, INNER, WIDTH):
        real = tl.zeros((N0, WIDTH), tl.float32)
        other, both = real, real
        for line in range(0, N0, 16):
            samples = line * INNER + tile + grid_of(16, WIDTH, INNER)
            ar, ai = tl.load(area + samples), tl.load(area + N0 * INNER + samples)
            wr, wi = tl.load(outer_twiddles + samples), tl.load(outer_twiddles + N0 * INNER + samples)
            places = line + grid_of(N0, 16, N0)
            fr, fi = tl.load(outer + places), -tl.load(outer + N0 * N0 + places)
            br, bi = ar * wr + ai * wi, ai * wr - ar * wi
            real, other, both = multiply_add(real, other, both, fr, fi, br, bi, PRECISION)
        samples = tile + grid_of(N0, WIDTH, INNER)
        store_row(y, factor, samples, real - other, first, stop, HAS_FACTOR)
        store_row(second_y, second_factor, samples, both - real - other, second, second_stop, HAS_FACTOR)
