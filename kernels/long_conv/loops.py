"""The convolution over groups of eight channels, compiled: all of it happens in scratch memory of a few series.

Scratch memory is (n, 2, 8): sample, real or imaginary part, channel. A complex series is two rows of the batch: kernels
are real, so the rows do not mix. All lanes of all rows then meet a kernel's spectrum in the same place, and it is
transformed once. The product of the spectra stands between the passes of the two transforms, block by block.
"""

from __future__ import annotations

import numpy as np

from seqkit.kernels.long_conv.lanes.loops import LANES, compiled, load, splat, store, turn
from seqkit.kernels.long_conv.passes.loops import (
    POINT,
    Array,
    ascend,
    descend,
    fft,
    fft_back,
    leaf_of,
    parts_of,
    roots,
    thirds,
    thirds_back,
)

__all__ = ["LANES", "convolve", "correlate", "roots"]


@compiled
def convolve_lanes(x: Array, k: Array, w: Array) -> None:
    """Replaces x (n, 2, 8) by its circular convolution with the kernel of spectrum k, n times as large."""
    parts = parts_of(len(x) // POINT)
    size = len(x) // POINT // parts
    leaf = leaf_of(size)
    if parts == 3:
        thirds(x, w)
    for start in range(0, parts * size, size):
        for at in range(0, size, leaf):
            descend(x, w, start, at, size, leaf, parts)
            for a in range((start + at) * POINT, (start + at + leaf) * POINT, POINT):
                xr, xi, kr, ki = load(x, a), load(x, a + LANES), load(k, a), load(k, a + LANES)
                store(x, a, xr * kr - xi * ki)
                store(x, a + LANES, xr * ki + xi * kr)
            ascend(x, w, start, at, size, leaf, parts)
    if parts == 3:
        thirds_back(x, w)


@compiled
def correlate_lanes(x: Array, g: Array, k: Array, total: Array, again: bool, w: Array) -> None:
    """Adds conj(spectrum of x) times that of g to total; replaces g by its correlation with the kernel of spectrum k.

    If `again`, x is replaced by its convolution with the kernel; else it is left in pieces.
    """
    parts = parts_of(len(x) // POINT)
    size = len(x) // POINT // parts
    leaf = leaf_of(size)
    if parts == 3:
        thirds(x, w)
        thirds(g, w)
    for start in range(0, parts * size, size):
        for at in range(0, size, leaf):
            descend(x, w, start, at, size, leaf, parts)
            descend(g, w, start, at, size, leaf, parts)
            for a in range((start + at) * POINT, (start + at + leaf) * POINT, POINT):
                xr, xi, gr, gi = load(x, a), load(x, a + LANES), load(g, a), load(g, a + LANES)
                store(total, a, load(total, a) + xr * gr + xi * gi)
                store(total, a + LANES, load(total, a + LANES) + xr * gi - xi * gr)
                kr, ki = load(k, a), load(k, a + LANES)
                store(g, a, gr * kr + gi * ki)
                store(g, a + LANES, gi * kr - gr * ki)
                if again:
                    store(x, a, xr * kr - xi * ki)
                    store(x, a + LANES, xr * ki + xi * kr)
            ascend(g, w, start, at, size, leaf, parts)
            if again:
                ascend(x, w, start, at, size, leaf, parts)
    if parts == 3:
        thirds_back(g, w)
        if again:
            thirds_back(x, w)


@compiled
def clear(x: Array, part: int, start: int) -> None:
    """Sets a part of x, real or imaginary, to 0 from sample `start` on."""
    for i in range(start, len(x) // POINT):
        for lane in range(LANES):
            x[i * POINT + part * LANES + lane] = 0


@compiled
def fill(x: Array, rows: Array, gates: Array, gated: bool, part: int, first: int, end: int) -> None:
    """Writes samples [0, end) of rows (H, L), from channel `first` on, times their gates, into a part of x, then 0."""
    width, length = min(LANES, len(rows) - first), rows.shape[1]
    whole = end // LANES * LANES if width == LANES else 0
    for i in range(0, whole, LANES):
        a = first * length + i
        b, c, d, e, f, g, h = (
            *(a + length, a + 2 * length, a + 3 * length),
            *(a + 4 * length, a + 5 * length, a + 6 * length, a + 7 * length),
        )
        to = i * POINT + part * LANES
        r0, r1, r2, r3 = load(rows, a), load(rows, b), load(rows, c), load(rows, d)
        r4, r5, r6, r7 = load(rows, e), load(rows, f), load(rows, g), load(rows, h)
        if gated:
            r0, r1, r2, r3 = r0 * load(gates, a), r1 * load(gates, b), r2 * load(gates, c), r3 * load(gates, d)
            r4, r5, r6, r7 = r4 * load(gates, e), r5 * load(gates, f), r6 * load(gates, g), r7 * load(gates, h)
        r0, r1, r2, r3, r4, r5, r6, r7 = turn(r0, r1, r2, r3, r4, r5, r6, r7)
        store(x, to, r0)
        store(x, to + POINT, r1)
        store(x, to + 2 * POINT, r2)
        store(x, to + 3 * POINT, r3)
        store(x, to + 4 * POINT, r4)
        store(x, to + 5 * POINT, r5)
        store(x, to + 6 * POINT, r6)
        store(x, to + 7 * POINT, r7)
    clear(x, part, whole)
    for lane in range(width):
        for i in range(whole, end):
            value = rows[first + lane, i] * gates[first + lane, i] if gated else rows[first + lane, i]
            x[i * POINT + part * LANES + lane] = value


@compiled
def read(x: Array, rows: Array, gates: Array, gated: bool, add: bool, part: int, first: int, end: int) -> None:
    """Writes a part of x, times its gates, to samples [0, end) of rows (H, L), or adds it; 0 past them."""
    width, length = min(LANES, len(rows) - first), rows.shape[1]
    whole = end // LANES * LANES if width == LANES and not add else 0
    for i in range(0, whole, LANES):
        a = first * length + i
        b, c, d, e, f, g, h = (
            *(a + length, a + 2 * length, a + 3 * length),
            *(a + 4 * length, a + 5 * length, a + 6 * length, a + 7 * length),
        )
        to = i * POINT + part * LANES
        r0, r1, r2, r3 = load(x, to), load(x, to + POINT), load(x, to + 2 * POINT), load(x, to + 3 * POINT)
        to += 4 * POINT
        r4, r5, r6, r7 = load(x, to), load(x, to + POINT), load(x, to + 2 * POINT), load(x, to + 3 * POINT)
        r0, r1, r2, r3, r4, r5, r6, r7 = turn(r0, r1, r2, r3, r4, r5, r6, r7)
        if gated:
            r0, r1, r2, r3 = r0 * load(gates, a), r1 * load(gates, b), r2 * load(gates, c), r3 * load(gates, d)
            r4, r5, r6, r7 = r4 * load(gates, e), r5 * load(gates, f), r6 * load(gates, g), r7 * load(gates, h)
        store(rows, a, r0)
        store(rows, b, r1)
        store(rows, c, r2)
        store(rows, d, r3)
        store(rows, e, r4)
        store(rows, f, r5)
        store(rows, g, r6)
        store(rows, h, r7)
    for lane in range(width):
        for i in range(whole, end):
            value = x[i * POINT + part * LANES + lane]
            if gated:
                value *= gates[first + lane, i]
            rows[first + lane, i] = rows[first + lane, i] + value if add else value
        rows[first + lane, end:] = 0


@compiled
def transform_kernel(x: Array, k: Array, center: int, first: int, w: Array) -> None:
    """Writes spectra of kernels (H, taps) over their size; tap `center` turns to index 0, so outputs start there."""
    size = len(x) // POINT
    clear(x, 1, 0)
    if center == 0:
        fill(x, k, k, False, 0, first, k.shape[1])
    else:
        clear(x, 0, 0)
        for lane in range(min(LANES, len(k) - first)):
            for j in range(center):
                x[(size + j - center) * POINT + lane] = k[first + lane, j]
            for j in range(center, k.shape[1]):
                x[(j - center) * POINT + lane] = k[first + lane, j]
    fft(x, w)
    scale = splat(w, 2 * size + 2)
    for a in range(0, len(x), LANES):
        store(x, a, scale * load(x, a))


@compiled
def convolve(
    u: Array, k: Array, gate: Array, gated: bool, ends: Array, center: int, w: Array, start: int, stop: int, y: Array
) -> None:
    """Computes channel groups [start, stop) of y (B, M, H, L) for u (B, H, L), k (M, H, taps), gate as y if gated."""
    size = len(w) // 2 - 1  # three constants follow the roots
    x, spectrum = np.empty(size * POINT, u.dtype), np.empty(size * POINT, u.dtype)
    for first in range(start * LANES, min(stop * LANES, u.shape[1]), LANES):
        for m in range(len(k)):
            transform_kernel(spectrum, k[m], center, first, w)
            for b in range(0, len(u), 2):
                count = min(2, len(u) - b)
                clear(x, 1, 0 if count == 1 else size)
                for part in range(count):
                    fill(x, u[b + part], u[b + part], False, part, first, ends[b + part])
                convolve_lanes(x, spectrum, w)
                for part in range(count):
                    read(x, y[b + part, m], gate[b + part, m], gated, False, part, first, ends[b + part])


@compiled
def correlate(
    grad: Array,
    u: Array,
    k: Array,
    gate: Array,
    gated: bool,
    ends: Array,
    center: int,
    w: Array,
    start: int,
    stop: int,
    du: Array,
    dk: Array,
    dgate: Array,
) -> None:
    """Computes channel groups [start, stop) of the gradients; arguments as in `convolve`, grad as y."""
    size = len(w) // 2 - 1
    x, g = np.empty(size * POINT, u.dtype), np.empty(size * POINT, u.dtype)
    spectrum, total = np.empty(size * POINT, u.dtype), np.empty(size * POINT, u.dtype)
    for first in range(start * LANES, min(stop * LANES, u.shape[1]), LANES):
        for m in range(len(k)):
            transform_kernel(spectrum, k[m], center, first, w)
            total[:] = 0
            for b in range(0, len(u), 2):
                count = min(2, len(u) - b)
                clear(x, 1, 0 if count == 1 else size)
                clear(g, 1, 0 if count == 1 else size)
                for part in range(count):
                    end = ends[b + part]
                    fill(x, u[b + part], u[b + part], False, part, first, end)
                    fill(g, grad[b + part, m], gate[b + part, m], gated, part, first, end)
                correlate_lanes(x, g, spectrum, total, gated, w)
                for part in range(count):
                    end = ends[b + part]
                    read(g, du[b + part], du[b + part], False, m > 0, part, first, end)
                    if gated:
                        read(x, dgate[b + part, m], grad[b + part, m], True, False, part, first, end)
            fft_back(total, w)
            for lane in range(min(LANES, k.shape[1] - first)):
                for j in range(center):
                    dk[m, first + lane, j] = total[(size + j - center) * POINT + lane] * w[-1]
                for j in range(center, k.shape[2]):
                    dk[m, first + lane, j] = total[(j - center) * POINT + lane] * w[-1]
