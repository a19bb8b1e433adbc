"""Transforms of groups of eight channels, compiled: passes of radix 4, and one of radix 2 and one of 3 where needed.

Samples lie in scratch memory (n, 2, 8): sample, real or imaginary part, channel; each channel has a lane of the vector
registers, so that no pass moves numbers between lanes.

The forward transform leaves frequencies in the order its passes produce (decimation in frequency) and the inverse
starts from that order; a convolution needs no other. Passes go depth first, so that all but the first few run in the
nearest cache: blocks that stay there are leaves, which `descend` ends with and `ascend` begins with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqkit.kernels.long_conv.lanes.loops import LANES, compiled, load, splat, store

__all__ = [
    "POINT",
    "Array",
    "ascend",
    "descend",
    "fft",
    "fft_back",
    "leaf_of",
    "parts_of",
    "roots",
    "thirds",
    "thirds_back",
]

Array = np.ndarray[Any, Any]
POINT = 2 * LANES  # numbers of one sample
NEAR = 128  # points whose passes stay in the nearest cache, 8 KiB in float32


def roots(size: int, dtype: np.dtype[Any]) -> Array:
    """Returns exp(-2 pi i j / size), real and imaginary parts in turns, and after them 1/2, sqrt(3)/2 and 1/size."""
    angles = np.arange(size) * (-2 * np.pi / size)
    table = np.stack([np.cos(angles), np.sin(angles)], axis=-1).ravel()
    return np.concatenate([table, [0.5, np.sqrt(0.75), 1 / size]]).astype(dtype)


@compiled
def turned(x: Array, place: int, re: Any, im: Any, w: Array, at: int) -> None:
    """Stores a number times a root."""
    wr, wi = splat(w, 2 * at), splat(w, 2 * at + 1)
    store(x, place, re * wr - im * wi)
    store(x, place + LANES, re * wi + im * wr)


@compiled
def quarters(x: Array, w: Array, start: int, size: int, step: int) -> None:
    """Radix 4: four transforms of a quarter each are left to do."""
    quarter = size // 4
    gap = quarter * POINT
    for j in range(quarter):
        a = (start + j) * POINT
        b, c, d = a + gap, a + 2 * gap, a + 3 * gap
        ar, ai, br, bi = load(x, a), load(x, a + LANES), load(x, b), load(x, b + LANES)
        cr, ci, dr, di = load(x, c), load(x, c + LANES), load(x, d), load(x, d + LANES)
        sr, si, mr, mi = ar + cr, ai + ci, ar - cr, ai - ci
        tr, ti, nr, ni = br + dr, bi + di, br - dr, bi - di
        store(x, a, sr + tr)
        store(x, a + LANES, si + ti)
        turned(x, b, mr + ni, mi - nr, w, j * step)
        turned(x, c, sr - tr, si - ti, w, 2 * j * step)
        turned(x, d, mr - ni, mi + nr, w, 3 * j * step)


@compiled
def root_times(x: Array, place: int, w: Array, at: int) -> Any:
    """Loads a number times the conjugate of a root."""
    re, im, wr, wi = load(x, place), load(x, place + LANES), splat(w, 2 * at), splat(w, 2 * at + 1)
    return re * wr + im * wi, im * wr - re * wi


@compiled
def quarters_back(x: Array, w: Array, start: int, size: int, step: int) -> None:
    """Inverse of `quarters`, four times as large."""
    quarter = size // 4
    gap = quarter * POINT
    for j in range(quarter):
        a = (start + j) * POINT
        b, c, d = a + gap, a + 2 * gap, a + 3 * gap
        ar, ai = load(x, a), load(x, a + LANES)
        br, bi = root_times(x, b, w, j * step)
        cr, ci = root_times(x, c, w, 2 * j * step)
        dr, di = root_times(x, d, w, 3 * j * step)
        sr, si, mr, mi = ar + cr, ai + ci, ar - cr, ai - ci
        tr, ti, nr, ni = br + dr, bi + di, br - dr, bi - di
        store(x, a, sr + tr)
        store(x, a + LANES, si + ti)
        store(x, b, mr - ni)
        store(x, b + LANES, mi + nr)
        store(x, c, sr - tr)
        store(x, c + LANES, si - ti)
        store(x, d, mr + ni)
        store(x, d + LANES, mi - nr)


@compiled
def halves(x: Array, start: int, size: int) -> None:
    """Radix 2 on neighbours, its own inverse but for a factor."""
    for a in range(start * POINT, (start + size) * POINT, 2 * POINT):
        b = a + POINT
        ar, ai, br, bi = load(x, a), load(x, a + LANES), load(x, b), load(x, b + LANES)
        store(x, a, ar + br)
        store(x, a + LANES, ai + bi)
        store(x, b, ar - br)
        store(x, b + LANES, ai - bi)


@compiled
def thirds(x: Array, w: Array) -> None:
    """Radix 3 on everything."""
    size = len(x) // POINT
    gap = size // 3 * POINT
    half, sine = splat(w, 2 * size), splat(w, 2 * size + 1)
    for j in range(size // 3):
        a = j * POINT
        b, c = a + gap, a + 2 * gap
        ar, ai, br, bi = load(x, a), load(x, a + LANES), load(x, b), load(x, b + LANES)
        cr, ci = load(x, c), load(x, c + LANES)
        tr, ti, sr, si = br + cr, bi + ci, sine * (br - cr), sine * (bi - ci)
        mr, mi = ar - half * tr, ai - half * ti
        store(x, a, ar + tr)
        store(x, a + LANES, ai + ti)
        turned(x, b, mr + si, mi - sr, w, j)
        turned(x, c, mr - si, mi + sr, w, 2 * j)


@compiled
def thirds_back(x: Array, w: Array) -> None:
    """Inverse of `thirds`, three times as large."""
    size = len(x) // POINT
    gap = size // 3 * POINT
    half, sine = splat(w, 2 * size), splat(w, 2 * size + 1)
    for j in range(size // 3):
        a = j * POINT
        b, c = a + gap, a + 2 * gap
        ar, ai = load(x, a), load(x, a + LANES)
        br, bi = root_times(x, b, w, j)
        cr, ci = root_times(x, c, w, 2 * j)
        tr, ti, sr, si = br + cr, bi + ci, sine * (br - cr), sine * (bi - ci)
        mr, mi = ar - half * tr, ai - half * ti
        store(x, a, ar + tr)
        store(x, a + LANES, ai + ti)
        store(x, b, mr - si)
        store(x, b + LANES, mi + sr)
        store(x, c, mr + si)
        store(x, c + LANES, mi - sr)


@compiled
def near(x: Array, w: Array, start: int, size: int, step: int) -> None:
    """Transforms `size` points from `start` on, a power of two, pass by pass; their roots are `step` apart in `w`."""
    width = size
    while width > 2:
        for first in range(start, start + size, width):
            quarters(x, w, first, width, size // width * step)
        width //= 4
    if width == 2:
        halves(x, start, size)


@compiled
def near_back(x: Array, w: Array, start: int, size: int, step: int) -> None:
    """Inverse of `near`, `size` times as large."""
    width = size
    while width > 2:
        width //= 4
    if width == 2:
        halves(x, start, size)
    width *= 4
    while width <= size:
        for first in range(start, start + size, width):
            quarters_back(x, w, first, width, size // width * step)
        width *= 4


@compiled
def leaf_of(size: int) -> int:
    """Points that are transformed pass by pass, of a power of two that is else transformed depth first."""
    while size > NEAR:
        size //= 4
    return size


@compiled
def descend(x: Array, w: Array, start: int, at: int, size: int, leaf: int, step: int) -> None:
    """Before the leaf `at` of `size` points from `start` on: all passes over larger blocks that begin with it."""
    width = size
    while width > leaf:
        if at % width == 0:
            quarters(x, w, start + at, width, size // width * step)
        width //= 4
    near(x, w, start + at, leaf, size // leaf * step)


@compiled
def ascend(x: Array, w: Array, start: int, at: int, size: int, leaf: int, step: int) -> None:
    """Inverse of `descend`: after the leaf, all passes over larger blocks that end with it."""
    near_back(x, w, start + at, leaf, size // leaf * step)
    end, width = at + leaf, 4 * leaf
    while width <= size:
        if end % width == 0:
            quarters_back(x, w, start + end - width, width, size // width * step)
        width *= 4


@compiled
def parts_of(size: int) -> int:
    """Number of powers of two that a size is made of, one or three."""
    return 1 if size % 3 else 3


@compiled
def fft(x: Array, w: Array) -> None:
    """Transforms x (n, 2, 8), flat, in place; n is 2^a or 3 2^a, a at least 1, and w its `roots`."""
    parts = parts_of(len(x) // POINT)
    size = len(x) // POINT // parts
    leaf = leaf_of(size)
    if parts == 3:
        thirds(x, w)
    for start in range(0, parts * size, size):
        for at in range(0, size, leaf):
            descend(x, w, start, at, size, leaf, parts)


@compiled
def fft_back(x: Array, w: Array) -> None:
    """Inverse of `fft`, n times as large."""
    parts = parts_of(len(x) // POINT)
    size = len(x) // POINT // parts
    leaf = leaf_of(size)
    for start in range(0, parts * size, size):
        for at in range(0, size, leaf):
            ascend(x, w, start, at, size, leaf, parts)
    if parts == 3:
        thirds_back(x, w)
