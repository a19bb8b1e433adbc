"""Triton kernels: a program takes some groups, each in one visit; eight codes are summed to one number of 64 bits.

Multiply-adds are not fused, so that the codes are those of the other paths, bit for bit; for decoding it would make no
difference, as q step is exact.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqkit.kernels.quantise.layout import divisor, largest_code, n_groups, row_bytes
from seqkit.kernels.quantise.noise import key_of

__all__ = ["dequantise_rows", "quantise_rows"]

NUMBERS = 1024  # of a program


@triton.jit
def mixed(x):
    """The hash of the definition; see `noise`."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def places(n_items, length, n_parts, group, PARTS: tl.constexpr, EIGHTS: tl.constexpr):
    """Row and part of a program's groups, places of their numbers in the row, and which of them there are."""
    item = tl.program_id(0) * PARTS + tl.arange(0, PARTS)
    row, part = (item // n_parts).to(tl.int64), item % n_parts
    eight, one = tl.arange(0, EIGHTS), tl.arange(0, 8)
    inside = eight[None, :, None] * 8 + one[None, None, :]
    at = (part * group)[:, None, None] + inside
    here = (item < n_items)[:, None, None] & (inside < group) & (at < length)
    return item, row, part, eight, one, at, here


@triton.jit
def quantise_kernel(
    x,
    key,
    data,
    n_items,
    length,
    n_parts,
    width,
    group,
    top,
    divisor,
    BITS: tl.constexpr,
    STOCHASTIC: tl.constexpr,
    PARTS: tl.constexpr,
    EIGHTS: tl.constexpr,
):
    """Steps and codes of PARTS groups of x (R, n) into data (R, W)."""
    item, row, part, eight, one, at, here = places(n_items, length, n_parts, group, PARTS, EIGHTS)
    values = tl.load(x + row[:, None, None] * length + at, here, 0.0)
    size = tl.abs(values)
    if BITS == 1 and not STOCHASTIC:
        count = tl.minimum(group, length - part * group).to(tl.float64)
        wanted = (tl.sum(tl.sum(size.to(tl.float64), 2), 1) / count).to(tl.float32)
    else:
        wanted = tl.div_rn(tl.max(tl.max(size, 2), 1), tl.zeros((PARTS,), tl.float32) + divisor)
    wanted = tl.where(wanted > 0, tl.maximum(wanted, 1.1754943508222875e-38), wanted)
    half = tl.minimum((wanted.to(tl.uint32, bitcast=True) + 0xFFFF) >> 16, 0x7F7F)
    live = item < n_items
    tl.store(data + row * width + 2 * part, (half & 255).to(tl.uint8), live)
    tl.store(data + row * width + 2 * part + 1, (half >> 8).to(tl.uint8), live)
    step = (half << 16).to(tl.float32, bitcast=True)
    inverse = tl.where(step > 0, tl.div_rn(tl.full((PARTS,), 1.0, tl.float32), tl.where(step > 0, step, 1.0)), 0.0)
    y = values * inverse[:, None, None]
    if STOCHASTIC:
        keys = mixed(tl.load(key).to(tl.uint32) + row.to(tl.uint32) * 0x9E3779B9)
        noise = mixed(keys[:, None, None] + at.to(tl.uint32) * 0x9E3779B9) >> 8
        noise = noise.to(tl.float32) * 5.9604644775390625e-08
        if BITS == 1:
            codes = (tl.floor(y / 2 + 0.5 + noise) >= 1).to(tl.int64)
        else:
            codes = (tl.minimum(tl.maximum(tl.floor(y + noise), -top), top) + top).to(tl.int64)
    elif BITS == 1:
        codes = (values >= 0).to(tl.int64)
    else:
        # A sum with 1.5 2^23 is rounded to a whole number, half to even.
        y = tl.minimum(tl.maximum(y, -top), top) + 12582912.0
        codes = (y - 12582912.0 + top).to(tl.int64)
    codes = tl.where(here, codes, 0)
    words = tl.sum(codes << (BITS * one)[None, None, :].to(tl.int64), 2)
    first = 2 * n_parts + (part * (group // 8) * BITS)[:, None] + (eight * BITS)[None, :]
    begun = live[:, None] & (eight * 8 < group)[None, :]
    for byte in tl.static_range(BITS):
        place = first + byte
        inside = begun & (place < width) & ((part * group)[:, None] + (eight * 8)[None, :] < length)
        tl.store(data + row[:, None] * width + place, ((words >> (8 * byte)) & 255).to(tl.uint8), inside)


@triton.jit
def dequantise_kernel(
    data,
    base,
    out,
    n_items,
    length,
    n_parts,
    width,
    group,
    top,
    BITS: tl.constexpr,
    ONTO: tl.constexpr,
    PARTS: tl.constexpr,
    EIGHTS: tl.constexpr,
):
    """PARTS groups of out (R, n) from data (R, W)."""
    item, row, part, eight, one, at, here = places(n_items, length, n_parts, group, PARTS, EIGHTS)
    live = item < n_items
    low = tl.load(data + row * width + 2 * part, live, 0).to(tl.uint32)
    high = tl.load(data + row * width + 2 * part + 1, live, 0).to(tl.uint32)
    step = ((low | (high << 8)) << 16).to(tl.float32, bitcast=True)
    first = 2 * n_parts + (part * (group // 8) * BITS)[:, None] + (eight * BITS)[None, :]
    begun = live[:, None] & (eight * 8 < group)[None, :]
    words = tl.zeros((PARTS, EIGHTS), dtype=tl.int64)
    for byte in tl.static_range(BITS):
        place = first + byte
        some = tl.load(data + row[:, None] * width + place, begun & (place < width), 0)
        words = words | (some.to(tl.int64) << (8 * byte))
    codes = (words[:, :, None] >> (BITS * one)[None, None, :].to(tl.int64)) & ((1 << BITS) - 1)
    q = (2 * codes - 1).to(tl.float32) if BITS == 1 else codes.to(tl.float32) - top
    change = q * step[:, None, None]
    spot = row[:, None, None] * length + at
    if ONTO:
        change = tl.load(base + spot, here, 0.0) + change
    tl.store(out + spot, change, here)


def sizes(group: int) -> tuple[int, int]:
    """Groups of a program, and eights of a group, a power of two."""
    eights = int(triton.next_power_of_2(group // 8))
    return max(1, NUMBERS // (8 * eights)), eights


def quantise_rows(x: Tensor, seed: Tensor, bits: int, group: int, stochastic: bool, minimax: bool) -> Tensor:
    """Returns the bytes (R, W) of rows x (R, n)."""
    (n_rows, length), parts = x.shape, n_groups(x.shape[1], group)
    width = row_bytes(length, bits, group)
    out = torch.empty(n_rows, width, dtype=torch.uint8, device=x.device)
    n_items, (at_once, eights) = n_rows * parts, sizes(group)
    if n_items:
        numbers = (n_items, length, parts, width, group, float(largest_code(bits)), divisor(bits, minimax))
        quantise_kernel[(triton.cdiv(n_items, at_once),)](
            x, key_of(seed), out, *numbers, bits, stochastic, at_once, eights, enable_fp_fusion=False
        )
    return out


def dequantise_rows(data: Tensor, onto: Tensor, length: int, bits: int, group: int) -> Tensor:
    """Returns onto + q step, (R, n)."""
    parts, out = n_groups(length, group), torch.empty(len(data), length, device=data.device)
    n_items, (at_once, eights) = len(data) * parts, sizes(group)
    if n_items:
        numbers = (n_items, length, parts, data.shape[1], group, float(largest_code(bits)))
        grid = (triton.cdiv(n_items, at_once),)
        dequantise_kernel[grid](data, onto, out, *numbers, bits, len(onto) > 0, at_once, eights)
    return out
