"""The compiled loops: a group's step, codes and bytes in one visit, while its numbers lie in the first cache.

Codes go through a small buffer of one byte each, so that scaling and rounding are instructions on many numbers at a
time. Two and four bits are then joined by instructions on many bytes; for other numbers of bits eight codes are taken
as one number of 64 bits, and three shifts push them together to `bits` whole bytes.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["dequantise", "quantise"]

SMALLEST = np.float32(2.0**-126)
LARGEST = np.uint32(0x7F7F)
ZERO, ONE, HALF, TWO = np.float32(0), np.float32(1), np.float32(0.5), np.float32(2)
MAGIC = np.float32(12582912.0)  # 1.5 2^23: a sum with it has a whole number in its lowest bits, rounded half to even
GOLDEN = np.uint32(0x9E3779B9)
UNIT = np.float32(2.0**-24)

# Masks of every second byte, pair of bytes and four bytes.
M1, M2, M4 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0x00000000FFFFFFFF)

compiled = numba.njit(cache=True, nogil=True)
inlined = numba.njit(nogil=True)


@inlined
def as_float(bits: Any) -> Any:
    """The float32 of 32 bits."""
    return np.uint32(bits).view(np.float32)


@inlined
def as_bits(x: Any) -> Any:
    """The 32 bits of a float32."""
    return np.float32(x).view(np.uint32)


@inlined
def mix(x: Any) -> Any:
    """The hash of the definition; see `noise`."""
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@inlined
def largest(x: Any) -> Any:
    """The largest |x|: the bits of positive numbers are ordered as they are."""
    bits, top = x.view(np.uint32), np.uint32(0)
    for i in range(x.shape[0]):
        top = np.uint32(max(top, np.uint32(bits[i] & np.uint32(0x7FFFFFFF))))
    return as_float(top)


@numba.njit(nogil=True, fastmath={"reassoc", "nsz"})
def mean(x: Any) -> Any:
    """The mean of |x|, a sum in any order."""
    total = 0.0
    for i in range(x.shape[0]):
        total += np.float64(abs(x[i]))
    return np.float32(total / x.shape[0])


@inlined
def rounded_up(step: Any) -> Any:
    """The 16 bits of the next bfloat16; a step is 0 or at least the smallest normal number."""
    held = max(step, SMALLEST) if step > ZERO else step
    return np.uint32(min((as_bits(held) + np.uint32(0xFFFF)) >> np.uint32(16), LARGEST))


@inlined
def push_together(word: Any, bits: Any) -> Any:
    """Eight codes, a byte each, as 8 `bits` bits."""
    word = (word & M1) | ((word & ~M1) >> np.uint64(8 - bits))
    word = (word & M2) | ((word & ~M2) >> np.uint64(16 - 2 * bits))
    return (word & M4) | ((word & ~M4) >> np.uint64(32 - 4 * bits))


@inlined
def push_apart(word: Any, bits: Any) -> Any:
    """The other way round."""
    one = np.uint64(1)
    low = (one << np.uint64(4 * bits)) - one
    word = (word & low) | ((word & (low << np.uint64(4 * bits))) << np.uint64(32 - 4 * bits))
    low = ((one << np.uint64(2 * bits)) - one) * np.uint64(0x0000000100000001)
    word = (word & low) | ((word & (low << np.uint64(2 * bits))) << np.uint64(16 - 2 * bits))
    low = ((one << np.uint64(bits)) - one) * np.uint64(0x0001000100010001)
    return (word & low) | ((word & (low << np.uint64(bits))) << np.uint64(8 - bits))


@inlined
def join(codes: Any, out: Any, bits: Any) -> None:
    """Writes codes, a byte each and zeros after the last, as a string of bits: out has just its bytes."""
    size = out.shape[0]
    if bits == 8:
        for j in range(size):
            out[j] = codes[j]
    elif bits == 4:
        for j in range(size):
            out[j] = np.uint8(codes[2 * j] | (codes[2 * j + 1] << np.uint8(4)))
    elif bits == 2:
        for j in range(size):
            low = codes[4 * j] | (codes[4 * j + 1] << np.uint8(2))
            out[j] = np.uint8(low | (codes[4 * j + 2] << np.uint8(4)) | (codes[4 * j + 3] << np.uint8(6)))
    else:
        words = codes.view(np.uint64)
        for i in range((size + bits - 1) // bits):
            word = push_together(words[i], bits)
            for byte in range(i * bits, min((i + 1) * bits, size)):
                out[byte] = np.uint8(word)
                word >>= np.uint64(8)


@inlined
def part(data: Any, codes: Any, bits: Any) -> None:
    """The other way round."""
    size = data.shape[0]
    if bits == 8:
        for j in range(size):
            codes[j] = data[j]
    elif bits == 4:
        for j in range(size):
            codes[2 * j] = np.uint8(data[j] & np.uint8(15))
            codes[2 * j + 1] = np.uint8(data[j] >> np.uint8(4))
    elif bits == 2:
        for j in range(size):
            codes[4 * j] = np.uint8(data[j] & np.uint8(3))
            codes[4 * j + 1] = np.uint8((data[j] >> np.uint8(2)) & np.uint8(3))
            codes[4 * j + 2] = np.uint8((data[j] >> np.uint8(4)) & np.uint8(3))
            codes[4 * j + 3] = np.uint8(data[j] >> np.uint8(6))
    else:
        words = codes.view(np.uint64)
        for i in range((size + bits - 1) // bits):
            word = np.uint64(0)
            for byte in range(i * bits, min((i + 1) * bits, size)):
                word |= np.uint64(data[byte]) << np.uint64(8 * (byte - i * bits))
            words[i] = push_apart(word, bits)


@inlined
def write_codes(x: Any, codes: Any, inverse: Any, bits: Any, top: Any, stochastic: Any, key: Any, first: Any) -> None:
    """Sets `codes` to q + top of a group; `first` is the place of its first number in its row."""
    high = np.float32(top)
    if bits == 1 and not stochastic:
        for i in range(x.shape[0]):
            codes[i] = np.uint8(x[i] >= ZERO)
    elif bits == 1:
        for i in range(x.shape[0]):
            noise = np.float32(np.uint32(mix(np.uint32(key + np.uint32(first + i) * GOLDEN)) >> np.uint32(8))) * UNIT
            y = np.floor(x[i] * inverse / TWO + HALF + noise)
            codes[i] = np.uint8(y >= ONE)
    elif stochastic:
        for i in range(x.shape[0]):
            noise = np.float32(np.uint32(mix(np.uint32(key + np.uint32(first + i) * GOLDEN)) >> np.uint32(8))) * UNIT
            y = np.floor(x[i] * inverse + noise)
            y = min(max(y, -high), high)
            codes[i] = np.uint8(np.int32(y) + np.int32(top))
    else:
        for i in range(x.shape[0]):
            y = min(max(x[i] * inverse, -high), high)
            codes[i] = np.uint8(as_bits(y + MAGIC) + np.uint32(top))


@compiled
def quantise(
    start: int,
    stop: int,
    x: Any,
    out: Any,
    bits: int,
    top: int,
    divisor: float,
    group: int,
    stochastic: bool,
    seed: int,
) -> None:
    """Writes steps and codes of groups start .. stop - 1, counted over all rows, of x (R, n) into out (R, W)."""
    length, width = x.shape[1], out.shape[1]
    n_groups = (length + group - 1) // group
    codes = np.empty(group, np.uint8)
    for item in range(start, stop):
        row, number = item // n_groups, item % n_groups
        first = number * group
        values = x[row, first : min(first + group, length)]
        wanted = mean(values) if bits == 1 and not stochastic else np.float32(largest(values) / np.float32(divisor))
        half = rounded_up(wanted)
        out[row, 2 * number] = np.uint8(half & np.uint32(255))
        out[row, 2 * number + 1] = np.uint8(half >> np.uint32(8))
        step = as_float(half << np.uint32(16))
        inverse = ONE / step if step > ZERO else ZERO
        key = mix(np.uint32(np.uint32(seed) + np.uint32(row) * GOLDEN))
        write_codes(values, codes, inverse, bits, top, stochastic, key, first)
        for i in range(values.shape[0], group):
            codes[i] = 0
        place = 2 * n_groups + first // 8 * bits
        join(codes, out[row, place : min(place + group // 8 * bits, width)], bits)


@compiled
def dequantise(
    start: int, stop: int, data: Any, base: Any, onto: bool, out: Any, bits: int, top: int, group: int
) -> None:
    """Sets groups start .. stop - 1 of out (R, n) to base + q step, or to q step where `onto` is False."""
    length, width = out.shape[1], data.shape[1]
    n_groups = (length + group - 1) // group
    codes = np.empty(group, np.uint8)
    for item in range(start, stop):
        row, number = item // n_groups, item % n_groups
        first = number * group
        half = np.uint32(data[row, 2 * number]) | (np.uint32(data[row, 2 * number + 1]) << np.uint32(8))
        step = as_float(half << np.uint32(16))
        values = out[row, first : min(first + group, length)]
        place = 2 * n_groups + first // 8 * bits
        part(data[row, place : min(place + group // 8 * bits, width)], codes, bits)
        # Whole numbers as float32, exactly: numba would widen integers to 64 bits.
        scale, shift = (TWO, ONE) if bits == 1 else (ONE, np.float32(top))
        if onto:
            before = base[row, first : min(first + group, length)]
            for i in range(values.shape[0]):
                values[i] = before[i] + (np.float32(codes[i]) * scale - shift) * step
        else:
            for i in range(values.shape[0]):
                values[i] = (np.float32(codes[i]) * scale - shift) * step
